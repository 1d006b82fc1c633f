//! Compiles the gRPC contracts of `proto/`. protox is a compiler in Rust: no protoc needs to be installed.

use std::error::Error;

/// Messages that hold a witness; `src/rpc/wire.rs` gives them a `Debug` that does not show it.
const SECRET: [&str; 1] = [".zkpnet.worker.v1.MerkleWitness"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["zkpnet/worker/v1/worker.proto"], ["proto"])?;
    tonic_prost_build::configure().skip_debug(SECRET).compile_fds(files)?;
    Ok(())
}
