//! What tools ask first: which services there are, and whether they serve.

use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::*;

macro_rules! reflect {
    ($version:ident, $server:expr, $request:expr) => {{
        use tonic_reflection::pb::$version::ServerReflectionRequest;
        use tonic_reflection::pb::$version::server_reflection_client::ServerReflectionClient;
        use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
        use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(match $request {
                None => MessageRequest::ListServices(String::new()),
                Some(symbol) => MessageRequest::FileContainingSymbol(String::from(symbol)),
            }),
        };
        let mut client = ServerReflectionClient::new($server.channel());
        let requests = tokio_stream::once(request);
        let mut responses = client
            .server_reflection_info(requests)
            .await
            .unwrap()
            .into_inner();
        match responses
            .message()
            .await
            .unwrap()
            .unwrap()
            .message_response
            .unwrap()
        {
            MessageResponse::ListServicesResponse(list) => list
                .service
                .into_iter()
                .map(|service| service.name)
                .collect::<Vec<_>>(),
            MessageResponse::FileDescriptorResponse(_) => vec!["found".to_owned()],
            other => panic!("{other:?}"),
        }
    }};
}

#[tokio::test]
async fn both_versions_of_reflection_know_every_service() {
    let server = Server::start().await;
    for services in [
        reflect!(v1, server, None::<&str>),
        reflect!(v1alpha, server, None::<&str>),
    ] {
        for service in ["PolicyService", "SyncService", "FleetService"] {
            let service = format!("fusebox.v1.{service}");
            assert!(services.contains(&service), "{service} in {services:?}");
        }
        assert!(
            services.contains(&"grpc.health.v1.Health".to_owned()),
            "{services:?}"
        );
    }
}

#[tokio::test]
async fn reflection_knows_the_details_of_errors() {
    let server = Server::start().await;
    let symbol = Some("google.rpc.BadRequest");
    assert_eq!(reflect!(v1, server, symbol), ["found"]);
    assert_eq!(reflect!(v1alpha, server, symbol), ["found"]);
}

#[tokio::test]
async fn every_service_says_that_it_serves() {
    let server = Server::start().await;
    let mut client = HealthClient::new(server.channel());
    for service in [
        "",
        "fusebox.v1.PolicyService",
        "fusebox.v1.SyncService",
        "fusebox.v1.FleetService",
    ] {
        let request = HealthCheckRequest {
            service: service.into(),
        };
        let response = client.check(request).await.unwrap().into_inner();
        assert_eq!(response.status(), ServingStatus::Serving, "{service}");
    }
}
