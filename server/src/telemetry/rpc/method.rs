//! The methods this server serves, by path; whatever else a caller asks for has one name together.

use std::collections::HashMap;
use std::sync::Arc;

use fusebox_proto::FILE_DESCRIPTOR_SET;
use opentelemetry::StringValue;
use prost::Message;
use prost_types::FileDescriptorSet;

/// OpenTelemetry's name for what is not known beforehand.
const OTHER: &str = "_OTHER";
/// Served beside the contract, and whether it is a stream.
const BESIDE: [(&str, bool); 5] = [
    ("grpc.health.v1.Health/Check", false),
    ("grpc.health.v1.Health/List", false),
    ("grpc.health.v1.Health/Watch", true),
    (
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        true,
    ),
    (
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        true,
    ),
];

/// A method's full name, and whether its response is a stream.
#[derive(Clone, Debug)]
pub(super) struct Method {
    name: Arc<str>,
    stream: bool,
}

impl Method {
    fn new(name: &str, stream: bool) -> Self {
        let name = name.into();
        Self { name, stream }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The name without copying it.
    pub(super) fn value(&self) -> StringValue {
        Arc::clone(&self.name).into()
    }

    pub(super) fn is_stream(&self) -> bool {
        self.stream
    }
}

/// All methods there are.
#[derive(Debug)]
pub(super) struct Methods {
    by_name: HashMap<Arc<str>, Method>,
    other: Method,
}

impl Methods {
    pub(super) fn known() -> Self {
        let beside = BESIDE.map(|(name, stream)| Method::new(name, stream));
        let by_name = contract().into_iter().chain(beside);
        Self {
            by_name: by_name
                .map(|method| (Arc::clone(&method.name), method))
                .collect(),
            // Not known to be a stream, and then its span may last as long as it does.
            other: Method::new(OTHER, false),
        }
    }

    /// The method at `path`, which is `/package.Service/Method`.
    pub(super) fn find(&self, path: &str) -> Method {
        let name = path.strip_prefix('/').unwrap_or(path);
        self.by_name.get(name).unwrap_or(&self.other).clone()
    }
}

fn contract() -> Vec<Method> {
    // Our own build wrote them; if they could not be read every method would be `_OTHER`.
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap_or_default();
    let mut methods = Vec::new();
    for file in &files.file {
        for service in &file.service {
            methods.extend(service.method.iter().map(|method| {
                let name = format!("{}.{}/{}", file.package(), service.name(), method.name());
                Method::new(&name, method.server_streaming())
            }));
        }
    }
    methods
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_and_what_stands_beside_it_have_names_and_the_rest_has_one() {
        let methods = Methods::known();
        let table = [
            (
                "/fusebox.v1.PolicyService/GetPolicy",
                "fusebox.v1.PolicyService/GetPolicy",
                false,
            ),
            (
                "/fusebox.v1.SyncService/Connect",
                "fusebox.v1.SyncService/Connect",
                true,
            ),
            (
                "/grpc.health.v1.Health/Check",
                "grpc.health.v1.Health/Check",
                false,
            ),
            ("/fusebox.v1.PolicyService/Invented", OTHER, false),
            ("", OTHER, false),
        ];
        for (path, name, stream) in table {
            let method = methods.find(path);
            assert_eq!(
                (method.name(), method.is_stream()),
                (name, stream),
                "{path}"
            );
        }
    }
}
