//! `sarsen share`: share files by themselves, with no server and no network.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use caps::Cap;
use encoding::{Assembly, ShareSource, check_share};

use crate::caps_from;
use crate::cli::ShareCommand;
use crate::files::{self, Beside, Place};
use crate::out::say;
use crate::report::Damaged;

/// A share file on disk.
struct OnDisk(File);

impl ShareSource for OnDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
}

pub(crate) fn run(command: &ShareCommand) -> anyhow::Result<()> {
    match command {
        ShareCommand::Show { file, json } => show(file, json.json),
        ShareCommand::Assemble { cap, files, output } => assemble(cap, files, output),
    }
}

fn open(path: &Path) -> anyhow::Result<OnDisk> {
    File::open(path).map(OnDisk).with_context(|| format!("cannot read {}", path.display()))
}

fn show(path: &Path, json: bool) -> anyhow::Result<()> {
    let report = match check_share(&open(path)?) {
        Ok(report) => report,
        Err(error) => {
            if json {
                say!("{}", serde_json::json!({ "intact": false, "error": error.to_string() }))?;
            }
            return Err(Damaged(error).into());
        }
    };
    let geometry = report.descriptor.geometry;
    let params = geometry.params();
    if json {
        let out = serde_json::json!({
            "intact": true, "hash": report.hash.to_string(), "number": report.number, "needed": params.needed(),
            "total": params.total(), "block_len": params.block_len(), "segments": geometry.segments(),
            "ciphertext_len": geometry.ciphertext_len(), "bucket": report.descriptor.bucket.0,
            "kind": format!("{:?}", report.descriptor.kind).to_lowercase(),
        });
        say!("{out}")?;
        return Ok(());
    }
    say!(
        "share:       {} of {} (any {} give the file back)",
        report.number,
        params.total(),
        params.needed()
    )?;
    say!("H:           {}", report.hash)?;
    say!("ciphertext:  {} bytes in {} segments", geometry.ciphertext_len(), geometry.segments())?;
    say!("bucket:      {}", report.descriptor.bucket)?;
    say!("intact:      yes, every byte")?;
    Ok(())
}

fn assemble(cap: &str, files: &[PathBuf], output: &Path) -> anyhow::Result<()> {
    let cap = match caps_from::read(cap)? {
        Cap::ImmutableRead(cap) => cap,
        other => bail!("a {} capability is not the read cap of an object", other.kind()),
    };
    let sources = files.iter().map(|path| open(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut assembly = Assembly::open(&cap, sources)?;
    let mut write = |out: &mut dyn Write| -> anyhow::Result<()> {
        for index in 0..assembly.segments() {
            for piece in assembly.segment(index)? {
                out.write_all(&piece).context("cannot write the output")?;
            }
        }
        out.flush().context("cannot write the output")
    };
    if files::is_stdout(output) {
        return write(&mut io::stdout().lock());
    }
    let place = match Place::find(output)? {
        Place::File(place) => place,
        Place::Stream(path) => return write(&mut files::open_stream(&path)?),
    };
    let beside = Beside::open(&place, "assemble")?;
    beside.file.set_len(0)?;
    match write(&mut &beside.file) {
        Ok(()) => beside.finish(),
        Err(error) => {
            beside.discard();
            Err(error)
        }
    }
}
