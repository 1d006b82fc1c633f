//! `zkpnet healthcheck`: one question to a node, one exit code. Container images have no `curl`.

use super::client::{CallError, Client};
use super::output::{print_error, print_line};
use super::{Failure, Verdict};
use std::time::{Duration, Instant};

/// Where the roles listen when nobody says: a gateway or `zkpnet dev`, a coordinator, a worker. A container has one of them, and its
/// image does not know which.
const USUAL_SERVERS: [&str; 3] = ["http://127.0.0.1:8080", "http://127.0.0.1:8090", "http://127.0.0.1:8070"];
/// The time for the whole question: below what docker/Dockerfile and the compose files allow.
const LIMIT: Duration = Duration::from_secs(5);

/// Arguments of `zkpnet healthcheck`.
#[derive(Debug, clap::Args)]
pub struct HealthcheckArgs {
    /// The node's address; without it the first that answers of http://127.0.0.1:8080, 8090 and 8070 (gateway or dev, coordinator, worker)
    #[arg(long, env = super::SERVER_VARIABLE, value_name = "URL")]
    server: Option<String>,
    /// Ask whether it takes requests (/readyz), not only whether it lives (/livez)
    #[arg(long)]
    ready: bool,
}

pub(super) fn run(args: &HealthcheckArgs) -> Result<Verdict, Failure> {
    let path = if args.ready { "/readyz" } else { "/livez" };
    let servers = args.server.as_deref().map_or_else(|| USUAL_SERVERS.to_vec(), |server| vec![server]);
    let clients =
        servers.into_iter().map(Client::new).collect::<Result<Vec<_>, _>>().map_err(Failure::Usage)?;
    let began = Instant::now();
    match first_answer(&clients, |client| client.probe(path, LIMIT.saturating_sub(began.elapsed()))) {
        Ok(()) => {
            print_line("ok")?;
            Ok(Verdict::Done)
        }
        Err(errors) => {
            errors.iter().for_each(|error| print_error(&error.to_string()));
            // Docker knows no other code for "not well".
            Ok(Verdict::No)
        }
    }
}

/// Asks one after another until one answers, whatever it says. Of many that do not, all errors.
fn first_answer<S>(servers: &[S], probe: impl Fn(&S) -> Result<(), CallError>) -> Result<(), Vec<CallError>> {
    let mut errors = Vec::new();
    for server in servers {
        match probe(server) {
            Ok(()) => return Ok(()),
            Err(error @ CallError::NoAnswer { .. }) => errors.push(error),
            Err(answer) => return Err(vec![answer]),
        }
    }
    Err(errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the nodes at these addresses say: 200, another status, or nothing.
    fn ask(nodes: &[Option<u16>]) -> Result<(), Vec<CallError>> {
        first_answer(nodes, |node| match node {
            Some(200) => Ok(()),
            Some(status) => {
                Err(CallError::Strange { base: "a".to_owned(), reason: format!("status {status}") })
            }
            None => Err(CallError::NoAnswer { base: "a".to_owned(), reason: "refused".to_owned() }),
        })
    }

    #[test]
    fn the_first_node_that_answers_is_the_one_that_is_asked() {
        assert!(ask(&[Some(200), Some(503), None]).is_ok());
        assert!(ask(&[None, None, Some(200)]).is_ok());
        // It is there and does not want requests: another one's word is not its own.
        let refused = ask(&[None, Some(503), Some(200)]);
        assert!(refused.is_err_and(|errors| matches!(errors.as_slice(), [CallError::Strange { .. }])));
        assert!(ask(&[None, None, None]).is_err_and(|errors| errors.len() == 3));
    }
}
