//! What the `OTEL_*` environment asks for.
//!
//! Source: OpenTelemetry specification, "Environment Variable Specification" and "OpenTelemetry
//! Protocol Exporter". An empty variable is an unset one. Endpoints, headers, timeouts and
//! intervals are read by the SDK itself; here is decided only whether a signal is exported at all,
//! and told what would otherwise be ignored in silence.

use opentelemetry_otlp::ExporterBuildError;

/// Where the specification sends what has no endpoint.
const DEFAULT_RECEIVER: &str = "localhost";

/// Which signals are exported, and what is to be said about it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    traces: Option<Receiver>,
    metrics: Option<Receiver>,
    warnings: Vec<String>,
}

/// Where a signal goes, for the log; the exporter finds its own way there.
pub(super) type Receiver = String;

impl Plan {
    pub(super) fn read(env: &dyn Fn(&str) -> Option<String>) -> Self {
        let env = Environment(env);
        let mut plan = Self::default();
        if env
            .get("OTEL_SDK_DISABLED")
            .is_some_and(|text| text.eq_ignore_ascii_case("true"))
        {
            return plan;
        }
        plan.traces = plan.signal(&env, "TRACES");
        plan.metrics = plan.signal(&env, "METRICS");
        plan
    }

    /// What `build` makes if traces are asked for and can be had.
    pub(super) fn traces<T>(
        &mut self,
        build: impl FnOnce(Receiver) -> Result<T, ExporterBuildError>,
    ) -> Option<T> {
        let built = self.traces.clone().map(build)?;
        self.built("traces", built)
    }

    /// What `build` makes if metrics are asked for and can be had.
    pub(super) fn metrics<T>(
        &mut self,
        build: impl FnOnce(Receiver) -> Result<T, ExporterBuildError>,
    ) -> Option<T> {
        let built = self.metrics.clone().map(build)?;
        self.built("metrics", built)
    }

    pub(super) fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    /// Logs the warnings, now that there is a log.
    pub(super) fn tell(self) {
        for warning in self.warnings {
            tracing::warn!("{warning}");
        }
        for (signal, receiver) in [("traces", self.traces), ("metrics", self.metrics)] {
            if let Some(receiver) = receiver {
                tracing::info!(signal, receiver, "exporting over OTLP");
            }
        }
    }

    fn built<T>(&mut self, signal: &str, built: Result<T, ExporterBuildError>) -> Option<T> {
        let told = |error| self.warn(format!("cannot export {signal}: {error}"));
        built.map_err(told).ok()
    }

    fn signal(&mut self, env: &Environment<'_>, signal: &str) -> Option<Receiver> {
        let (name, exporters) = env.of_signal("OTEL_", signal, "EXPORTER");
        let endpoint = env.otlp(signal, "ENDPOINT");
        let wanted = match exporters.as_deref() {
            None => endpoint.is_some(),
            Some("none") => false,
            Some(list) if list.split(',').any(|exporter| exporter.trim() == "otlp") => true,
            Some(other) => {
                self.warn(format!(
                    "{name} is {other:?}; allowed is otlp or none; exporting nothing"
                ));
                false
            }
        };
        let protocol = env.otlp(signal, "PROTOCOL");
        (wanted && self.can_reach(endpoint.as_ref()) && self.can_speak(protocol.as_ref())).then(
            || endpoint.map_or_else(|| DEFAULT_RECEIVER.to_owned(), |(_, url)| anonymous(&url)),
        )
    }

    /// No TLS is built in: a collector on the same machine or in the same pod takes it from here.
    fn can_reach(&mut self, endpoint: Option<&(String, String)>) -> bool {
        match endpoint {
            Some((name, url)) if url.starts_with("https:") => {
                self.warn(format!(
                    "{name} is {url:?}; this server exports in plain text only: name a collector \
                     by http:, it can speak TLS onwards; exporting nothing there"
                ));
                false
            }
            _ => true,
        }
    }

    fn can_speak(&mut self, protocol: Option<&(String, String)>) -> bool {
        match protocol {
            Some((name, other)) if !["grpc", "http/protobuf"].contains(&other.as_str()) => {
                self.warn(format!(
                    "{name} is {other:?}; allowed is grpc or http/protobuf; exporting nothing there"
                ));
                false
            }
            _ => true,
        }
    }
}

/// Without a user's name and password, if it has them.
fn anonymous(url: &str) -> Receiver {
    url.rsplit_once('@')
        .map_or(url, |(_, host)| host)
        .to_owned()
}

struct Environment<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Environment<'_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|text| !text.is_empty())
    }

    fn of_signal(&self, prefix: &str, signal: &str, what: &str) -> (String, Option<String>) {
        let name = format!("{prefix}{signal}_{what}");
        let value = self.get(&name);
        (name, value)
    }

    /// The signal's own OTLP variable, or else the one for all signals, with its name.
    fn otlp(&self, signal: &str, what: &str) -> Option<(String, String)> {
        const PREFIX: &str = "OTEL_EXPORTER_OTLP_";
        let (own, value) = self.of_signal(PREFIX, signal, what);
        let general = format!("{PREFIX}{what}");
        value
            .map(|value| (own, value))
            .or_else(|| self.get(&general).map(|value| (general, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(env: &[(&str, &str)]) -> (bool, bool, Vec<String>) {
        let get = |name: &str| {
            let found = env.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let plan = Plan::read(&get);
        (plan.traces.is_some(), plan.metrics.is_some(), plan.warnings)
    }

    const ALL: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");

    #[test]
    fn nothing_is_exported_unless_the_environment_asks() {
        type Case<'a> = (&'a [(&'a str, &'a str)], bool, bool);
        let table: &[Case<'_>] = &[
            (&[], false, false),
            (&[ALL], true, true),
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")], false, false),
            (&[ALL, ("OTEL_SDK_DISABLED", "TRUE")], false, false),
            (&[ALL, ("OTEL_SDK_DISABLED", "false")], true, true),
            (&[ALL, ("OTEL_TRACES_EXPORTER", "none")], false, true),
            (&[ALL, ("OTEL_METRICS_EXPORTER", "none")], true, false),
            (
                &[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://x/t")],
                true,
                false,
            ),
            (
                &[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://x/m")],
                false,
                true,
            ),
            (&[("OTEL_TRACES_EXPORTER", "otlp")], true, false),
            (&[ALL, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], true, true),
        ];
        for (env, traces, metrics) in table {
            assert_eq!(read(env), (*traces, *metrics, vec![]), "{env:?}");
        }
    }

    #[test]
    fn a_receiver_is_told_of_without_its_password() {
        assert_eq!(anonymous("http://localhost:4318"), "http://localhost:4318");
        assert_eq!(anonymous("http://user:secret@host:4318"), "host:4318");
    }

    #[test]
    fn what_cannot_be_done_is_said_and_the_rest_is_done() {
        let table = [
            (
                ("OTEL_TRACES_EXPORTER", "zipkin"),
                "OTEL_TRACES_EXPORTER is \"zipkin\"; allowed is otlp or none; exporting nothing",
            ),
            (
                ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL is \"http/json\"; allowed is grpc or \
                 http/protobuf; exporting nothing there",
            ),
            (
                ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://x"),
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is \"https://x\"; this server exports in plain \
                 text only: name a collector by http:, it can speak TLS onwards; exporting nothing \
                 there",
            ),
        ];
        for (variable, said) in table {
            assert_eq!(read(&[ALL, variable]), (false, true, vec![said.to_owned()]));
        }
    }
}
