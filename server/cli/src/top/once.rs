//! One look at the fleet, as text or as JSON: no terminal, no escape codes, the same columns always.

use std::collections::BTreeSet;
use std::time::Instant;

use fusebox_proto::json::{self, InvalidJson};
use fusebox_proto::v1;
use fusebox_proto::v1::fleet_service_client::FleetServiceClient;
use serde_json::{Map, Value};
use tonic::Code;
use tonic::transport::Channel;

use super::columns::Columns;
use super::feed::Scope;
use super::fleet::{Fleet, Order};
use super::view::partial;
use crate::Failure;
use crate::overrides;
use crate::remote::Call;

/// Operations asked for at once: as many as the contract lets.
const PAGE: i32 = 1000;

/// What there is to see at one moment.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// The worst first.
    operations: Vec<v1::OperationStatus>,
    /// None where the server is too old to know of any.
    overrides: Option<Vec<v1::OverrideStatus>>,
    coverage: Option<v1::Coverage>,
}

impl Look {
    pub(super) async fn take(
        mut client: FleetServiceClient<Channel>,
        scope: &Scope,
    ) -> Result<Self, Failure> {
        let failed = |status: tonic::Status| Call::Question.failed(&status, |_, _| None);
        let mut look = Self::default();
        let mut request = v1::ListOperationsRequest {
            namespace: scope.namespace.clone(),
            service: scope.service.clone(),
            operation: scope.operation.clone(),
            order: v1::list_operations_request::Order::Worst.into(),
            page_size: PAGE,
            ..v1::ListOperationsRequest::default()
        };
        loop {
            let answer = client.list_operations(request.clone()).await;
            let page = answer.map_err(failed)?.into_inner();
            look.coverage = page.coverage;
            look.operations.extend(page.operations);
            if page.next_page_token.is_empty() || page.next_page_token == request.page_token {
                break;
            }
            request.page_token = page.next_page_token;
        }
        // An operation whose place changed between two pages comes twice.
        let mut seen = BTreeSet::new();
        look.operations.retain(|one| {
            let id = (&one.namespace, &one.service, &one.operation);
            seen.insert((id.0.clone(), id.1.clone(), id.2.clone()))
        });
        let request = v1::ListBreakerOverridesRequest {
            namespace: scope.namespace.clone(),
            ..v1::ListBreakerOverridesRequest::default()
        };
        look.overrides = match client.list_breaker_overrides(request).await {
            Ok(answer) => Some(answer.into_inner().overrides),
            Err(status) if status.code() == Code::Unimplemented => None,
            Err(status) => return Err(failed(status)),
        };
        Ok(look)
    }

    /// A line for each operation, then one for each override.
    pub(super) fn text(self, now: Instant) -> String {
        let mut lines = Vec::new();
        lines.extend(self.coverage.and_then(partial));
        let mut fleet = Fleet::default();
        let told = v1::WatchFleetResponse {
            operations: self.operations,
            synced: true,
            ..v1::WatchFleetResponse::default()
        };
        fleet.absorb(told, now);
        let rows = fleet.rows("", Order::Worst);
        let longest = rows.iter().map(|(id, _)| id.name().chars().count()).max();
        let columns = Columns::for_names(longest.unwrap_or(0));
        lines.push(columns.head());
        lines.extend(rows.iter().map(|(id, known)| columns.row(id, known, now)));
        match &self.overrides {
            None => lines.push("overrides: unknown to this server".to_owned()),
            Some(all) => lines.extend(
                all.iter()
                    .map(|one| format!("override {}", overrides::line(one))),
            ),
        }
        lines.join("\n") + "\n"
    }

    /// One object: `operations`, `overrides` (null where the server knows of none) and `coverage`.
    pub(super) fn json(&self) -> Result<String, Failure> {
        let operations: Result<Vec<_>, InvalidJson> =
            self.operations.iter().map(json::to_json).collect();
        let overrides = self.overrides.as_ref().map(|all| {
            let all: Result<Vec<_>, InvalidJson> = all.iter().map(json::to_json).collect();
            all.map(Value::Array)
        });
        let coverage = self.coverage.as_ref().map(json::to_json);
        let mut object = Map::new();
        object.insert("operations".to_owned(), Value::Array(operations?));
        let overrides = overrides.transpose()?.unwrap_or(Value::Null);
        object.insert("overrides".to_owned(), overrides);
        let coverage = coverage.transpose()?.unwrap_or(Value::Null);
        object.insert("coverage".to_owned(), coverage);
        Ok(serde_json::to_string_pretty(&Value::Object(object))? + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::super::fleet::tests::status;
    use super::*;

    #[test]
    fn a_look_in_text_is_columns_without_escapes() {
        let look = Look {
            operations: vec![status("ship", [4, 0], 0.0), status("pay", [2, 2], 0.5)],
            ..Look::default()
        };
        let text = look.text(Instant::now());
        let lines: Vec<_> = text.lines().collect();
        assert!(
            lines[0].starts_with("service/operation instances"),
            "{text}"
        );
        assert!(lines[1].starts_with("checkout/pay      2c 2o"), "{text}");
        assert!(lines[2].starts_with("checkout/ship     4c"), "{text}");
        assert_eq!(lines[3], "overrides: unknown to this server");
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn a_look_in_json_is_one_object_with_everything() {
        let look = Look {
            operations: vec![status("pay", [2, 2], 0.5)],
            ..Look::default()
        };
        let json: Value = serde_json::from_str(&look.json().unwrap()).unwrap();
        assert_eq!(json["operations"][0]["instances"]["open"], 2);
        assert!(json["overrides"].is_null() && json["coverage"].is_null());
    }
}
