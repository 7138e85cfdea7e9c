//! The contract, and the only way between it and core.
//!
//! The `.proto` files beside this crate's sources are the contract; [`v1`] and [`store_v1`] are
//! generated from them. [`convert`] takes a message apart into core's valid-once-held values, with
//! every problem reported at once, and puts such values into messages. Nothing behind it sees a
//! wire type. `json` (a feature) is the form in which people read and write messages.

pub mod convert;
#[cfg(feature = "json")]
pub mod json;

pub use generated::store::v1 as store_v1;
pub use generated::v1;

/// The encoded descriptors of [`v1`] with all they import, comments included, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/fusebox_v1.bin"));

/// Nested like the packages, because generated code refers from one to another by `super`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
mod generated {
    /// What operators and SDKs speak.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/fusebox.v1.rs"));
    }

    pub mod store {
        /// What a server writes to its own disk; no service speaks it.
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/fusebox.store.v1.rs"));
        }
    }
}

#[cfg(test)]
mod tests {
    use fusebox_core::policy::field::Field;
    use prost::Message;
    use prost_types::field_descriptor_proto::Type;
    use prost_types::{DescriptorProto, FileDescriptorSet, ServiceDescriptorProto};

    use super::FILE_DESCRIPTOR_SET;

    fn descriptors() -> FileDescriptorSet {
        FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap()
    }

    #[test]
    fn reflection_knows_every_service_and_nothing_of_the_store() {
        let files = descriptors().file;
        let services = files.iter().flat_map(|file| &file.service);
        let mut names: Vec<_> = services.map(ServiceDescriptorProto::name).collect();
        names.sort_unstable();
        assert_eq!(names, ["FleetService", "PolicyService", "SyncService"]);
        assert!(
            files
                .iter()
                .all(|file| file.package() != "fusebox.store.v1")
        );
        let known = |import: &String| files.iter().any(|file| file.name() == import);
        assert!(files.iter().flat_map(|file| &file.dependency).all(known));
    }

    #[test]
    fn cores_table_of_fields_and_the_contracts_rules_name_the_same_paths() {
        let files = descriptors().file;
        let messages: Vec<_> = files
            .iter()
            .filter(|file| file.package() == "fusebox.v1")
            .flat_map(|file| &file.message_type)
            .collect();
        let paths = Field::ALL.iter().flat_map(|field| field.paths());
        let mut of_core: Vec<_> = paths.map(ToString::to_string).collect();
        let mut of_contract = rule_paths(&messages);
        of_core.sort();
        of_contract.sort();
        assert_eq!(of_core, of_contract);
    }

    /// The fields of `Rules`, and of those that are sections, theirs.
    fn rule_paths(messages: &[&DescriptorProto]) -> Vec<String> {
        let named = |name: &str| {
            messages
                .iter()
                .find(|message| message.name() == name)
                .unwrap()
        };
        let rules = named("Rules").field.iter();
        let paths = rules.flat_map(|field| match field.r#type() {
            Type::Message => {
                let section = named(field.type_name().rsplit('.').next().unwrap());
                let path = |member| format!("{}.{member}", field.name());
                section
                    .field
                    .iter()
                    .map(|member| path(member.name()))
                    .collect()
            }
            _ => vec![field.name().to_owned()],
        });
        paths.collect()
    }
}
