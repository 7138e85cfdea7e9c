//! What the server says, as it comes: it is asked again and again, and reached anew by itself.

use std::time::Duration;

use fusebox_proto::convert::time::duration_to_wire;
use fusebox_proto::v1;
use fusebox_proto::v1::fleet_service_client::FleetServiceClient;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tonic::Code;
use tonic::transport::Channel;

use super::fleet::Id;
use super::model::Told;
use crate::remote::Call;

/// How long after a failure the server is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long an answer is waited for before it is asked for anew.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the overrides in force are asked for.
const OVERRIDES: Duration = Duration::from_secs(2);

/// What is looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    pub(super) namespace: String,
    pub(super) service: String,
    pub(super) operation: String,
}

/// Who is told, and whom to ask. What is told ends with the view.
#[derive(Clone)]
pub(super) struct Feed {
    pub(super) client: FleetServiceClient<Channel>,
    pub(super) told: mpsc::Sender<Told>,
}

/// Nobody looks any longer.
pub(super) struct Closed;

impl Feed {
    async fn tell(&self, told: Told) -> Result<(), Closed> {
        self.told.send(told).await.map_err(|_| Closed)
    }

    /// Follows the fleet for as long as anybody looks.
    pub(super) async fn follow(mut self, scope: Scope, interval: Duration) -> Closed {
        loop {
            let why = match self.follow_once(&scope, interval).await {
                Ok(why) => why,
                Err(closed) => return closed,
            };
            if let Err(closed) = self.tell(Told::Lost(why)).await {
                return closed;
            }
            sleep(AGAIN).await;
        }
    }

    /// Until the stream ends; says why it did.
    async fn follow_once(&mut self, scope: &Scope, interval: Duration) -> Result<String, Closed> {
        let request = v1::WatchFleetRequest {
            namespace: scope.namespace.clone(),
            service: scope.service.clone(),
            operation: scope.operation.clone(),
            refresh_interval: Some(duration_to_wire(interval)),
        };
        let mut watched = match timeout(PATIENCE, self.client.watch_fleet(request)).await {
            Err(_) => return Ok("the server does not answer".to_owned()),
            Ok(Err(status)) => return Ok(Call::Question.in_words(&status)),
            Ok(Ok(watched)) => watched.into_inner(),
        };
        self.tell(Told::Began).await?;
        loop {
            match watched.message().await {
                Ok(Some(message)) => self.tell(Told::Watched(message)).await?,
                Ok(None) => return Ok("the server has ended the watch".to_owned()),
                Err(status) => return Ok(Call::Question.in_words(&status)),
            }
        }
    }

    /// Asks for the overrides in force now and then.
    pub(super) async fn overrides(mut self, namespace: String) -> Closed {
        loop {
            let request = v1::ListBreakerOverridesRequest {
                namespace: namespace.clone(),
                ..v1::ListBreakerOverridesRequest::default()
            };
            let asked = timeout(PATIENCE, self.client.list_breaker_overrides(request));
            // A failure is the watch's to tell: it asks the same server.
            if let Ok(Ok(answer)) = asked.await {
                let overrides = answer.into_inner().overrides;
                if let Err(closed) = self.tell(Told::Overrides(overrides)).await {
                    return closed;
                }
            }
            sleep(OVERRIDES).await;
        }
    }

    /// Asks for the operation that is looked at closely, at once and then each interval.
    pub(super) async fn details(
        mut self,
        mut wanted: watch::Receiver<Option<Id>>,
        interval: Duration,
    ) -> Closed {
        loop {
            let id = wanted.borrow_and_update().clone();
            let Some(id) = id else {
                if wanted.changed().await.is_err() {
                    return Closed;
                }
                continue;
            };
            let told = self.detail(&id).await;
            if let Err(closed) = self.tell(Told::Detail(id, told)).await {
                return closed;
            }
            // Another operation does not wait for this one's turn.
            if let Ok(Err(_)) = timeout(interval, wanted.changed()).await {
                return Closed;
            }
        }
    }

    async fn detail(&mut self, id: &Id) -> Result<Box<v1::GetOperationResponse>, String> {
        let request = v1::GetOperationRequest {
            namespace: id.namespace.clone(),
            service: id.service.clone(),
            operation: id.operation.clone(),
            page_size: 1000,
            page_token: String::new(),
        };
        match timeout(PATIENCE, self.client.get_operation(request)).await {
            Err(_) => Err("the server does not answer".to_owned()),
            Ok(Ok(answer)) => Ok(Box::new(answer.into_inner())),
            Ok(Err(status)) if status.code() == Code::NotFound => {
                Err("no process tells of it any longer".to_owned())
            }
            Ok(Err(status)) => Err(Call::Question.in_words(&status)),
        }
    }
}
