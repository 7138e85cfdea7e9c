//! What somebody can have meant: which of what is known a target matches, and what comes nearest if
//! nothing does.

use fusebox_core::glob::Glob;
use fusebox_core::key::{InstanceId, Labels};
use fusebox_core::stats::Filter;

use super::FleetWatch;

/// Below this similarity (Jaro-Winkler, 0 to 1) a name is another word.
const SIMILAR: f64 = 0.7;

/// What a target matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meant {
    /// Connected processes.
    pub(crate) instances: usize,
    /// Operations of their services.
    pub(crate) operations: usize,
    /// The service whose name comes nearest, if none matches.
    pub(crate) nearest_service: Option<String>,
    /// The process whose id comes nearest, if none matches.
    pub(crate) nearest_instance: Option<String>,
    /// The operation whose name comes nearest, if none matches.
    pub(crate) nearest_operation: Option<String>,
}

impl FleetWatch {
    /// What is meant by those names and labels.
    pub(crate) fn meant(
        &self,
        filter: &Filter,
        instance: Option<&InstanceId>,
        labels: &Labels,
    ) -> Meant {
        let namespace = filter.namespace.clone();
        let all = Filter {
            namespace: namespace.clone(),
            ..Filter::default()
        };
        let of_service = Filter {
            operation: None,
            ..filter.clone()
        };
        let (instances, operations, services) = self.visit(|state, _| {
            let fleet = &state.fleet;
            let instances = fleet.count_connected(&of_service, instance, labels);
            let operations = fleet.operation_keys(filter).len();
            (instances, operations, fleet.service_names(&all))
        });
        let mut meant = Meant {
            instances,
            operations,
            ..Meant::default()
        };
        let service = filter.service.as_ref();
        let known = |glob: &Glob| services.iter().any(|name| glob.matches(name));
        if let Some(glob) = service.filter(|glob| !known(glob)) {
            meant.nearest_service = nearest(glob.as_str(), services.iter());
        }
        if let Some(id) = instance.filter(|_| instances == 0) {
            let ids = self.visit(|state, _| state.fleet.instance_ids(&of_service));
            meant.nearest_instance = nearest(id.as_str(), ids.iter());
        }
        if let Some(glob) = filter.operation.as_ref().filter(|_| operations == 0) {
            let keys = self.visit(|state, _| state.fleet.operation_keys(&of_service));
            let names: Vec<_> = keys.iter().map(|key| key.operation.to_string()).collect();
            meant.nearest_operation = nearest(glob.as_str(), names.iter());
        }
        meant
    }
}

/// The most similar of `names`, if any is similar at all.
fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a String>) -> Option<String> {
    let rated = names.map(|known| (strsim::jaro_winkler(known, name), known));
    let rated = rated.filter(|(similarity, _)| *similarity >= SIMILAR);
    let best = rated.max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.map(|(_, known)| known.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_a_similar_one_or_none() {
        let names = ["checkout", "search"].map(str::to_owned);
        assert_eq!(
            nearest("chekout", names.iter()).as_deref(),
            Some("checkout")
        );
        assert_eq!(nearest("zzz", names.iter()), None);
    }
}
