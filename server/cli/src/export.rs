//! `fusebox export`: the server's policies as the files that would make them so.
//!
//! What it writes, `fusebox apply` reads: applied at once, it changes nothing.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser as NonEmpty;
use fusebox_proto::v1;
use fusebox_proto::v1::policy_service_client::PolicyServiceClient;
use tonic::transport::Channel;

use crate::Failure;
use crate::check::many_policies;
use crate::files::{Folder, Format, authored};
use crate::print::say;
use crate::remote::{Call, Remote};

/// Policies asked for at once: as many as the contract lets.
const PAGE: i32 = 1000;
/// How often the pages are read again, because somebody has written meanwhile.
const MAX_TRIES: usize = 8;

/// What to export, and where to.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only policies of this namespace
    #[arg(long, value_name = "NS", value_parser = NonEmpty::new())]
    namespace: Option<String>,
    /// Only policies that can concern this service
    #[arg(long, value_name = "NAME", value_parser = NonEmpty::new())]
    service: Option<String>,
    /// Only policies of this owner
    #[arg(long, value_name = "OWNER", value_parser = NonEmpty::new())]
    owner: Option<String>,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    remote: Remote,
}

/// Where policies are written to, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Target {
    /// The form they are written in
    #[arg(short, long, value_name = "FORMAT", default_value = "yaml")]
    output: Format,
    /// Write each to a file of its own, DIR/<namespace>/<name>.yaml
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

/// Writes them all.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let policies = args.remote.run(async |client| all(client, args).await)?;
    args.target.write(&policies, &Heads::default())?;
    Ok(ExitCode::SUCCESS)
}

/// Comments before policies in YAML: before all of them in one file, or before each in its own.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    pub(crate) all: String,
    pub(crate) each: Vec<String>,
}

impl Target {
    /// To standard output, or into the directory.
    pub(crate) fn write(&self, policies: &[v1::Policy], heads: &Heads) -> Result<(), Failure> {
        let Some(directory) = &self.to else {
            let head = match self.output {
                Format::Yaml => heads.all.as_str(),
                Format::Json => "",
            };
            let text = format!("{head}{}", self.output.all(policies)?);
            return Ok(io::stdout().write_all(text.as_bytes())?);
        };
        let written = Folder::new(directory, self.output).write(policies, &heads.each)?;
        for other in &written.others {
            eprintln!("{}: is no policy of these; left alone", other.display());
        }
        let (all, to) = (many_policies(policies.len()), directory.display());
        let changed = written.changed;
        say(&format!("{all} in {to}, {changed} written anew"));
        Ok(())
    }
}

/// All pages as of one revision, in the order of namespace and name.
async fn all(
    mut client: PolicyServiceClient<Channel>,
    args: &Args,
) -> Result<Vec<v1::Policy>, Failure> {
    for _ in 0..MAX_TRIES {
        if let Some(policies) = pages(&mut client, args).await? {
            return Ok(policies.into_iter().map(authored).collect());
        }
    }
    let line = "policies were written all the while; try again when there are fewer writes";
    Err(Failure::told(line.to_owned()))
}

/// `None` if the pages speak of different revisions.
async fn pages(
    client: &mut PolicyServiceClient<Channel>,
    args: &Args,
) -> Result<Option<Vec<v1::Policy>>, Failure> {
    let mut request = v1::ListPoliciesRequest {
        namespace: args.namespace.clone().unwrap_or_default(),
        service: args.service.clone().unwrap_or_default(),
        owner: args.owner.clone().unwrap_or_default(),
        page_size: PAGE,
        page_token: String::new(),
    };
    let (mut policies, mut revision) = (Vec::new(), None);
    loop {
        let page = client.list_policies(request.clone()).await;
        let page = page
            .map_err(|status| Call::Question.failed(&status, |_, _| None))?
            .into_inner();
        if *revision.get_or_insert(page.revision) != page.revision {
            return Ok(None);
        }
        policies.extend(page.policies);
        if page.next_page_token.is_empty() || page.next_page_token == request.page_token {
            return Ok(Some(policies));
        }
        request.page_token = page.next_page_token;
    }
}
