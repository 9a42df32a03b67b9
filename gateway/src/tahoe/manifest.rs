//! Lists of all there is below a directory.

use client::filestore::Walked;
use encoding::directory::Name;
use serde_json::json;

use super::answer::{Answer, Gone, Problem, Writer, ascii, streamed};
use super::deep::{line, unreadable};
use super::linked::Call;
use super::operations::{self, Kind, Line, Progress};
use super::stats::Totals;

/// `t=stream-manifest`: a line of JSON for each name.
pub(super) async fn stream(call: &Call) -> Answer {
    let target = call.target().await?;
    if target.cap.is_directory() {
        call.client.open_directory(&target.cap).await?;
    }
    let call = call.clone();
    Ok(streamed("text/plain; charset=utf-8", move |mut writer| async move {
        let Ok(done) = write(&mut writer, &call).await else { return };
        if let Err(Problem(failure)) = done {
            let text = format!("ERROR: {}\n", failure.text.replace('\n', " "));
            let _ = writer.write(&ascii(&text)).await;
        }
        let _ = writer.flush().await;
    }))
}

async fn write(writer: &mut Writer, call: &Call) -> Result<Result<(), Problem>, Gone> {
    let root = match call.target().await {
        Ok(target) => target.cap,
        Err(error) => return Ok(Err(error.into())),
    };
    let (mut walk, mut totals) = (call.client.walk(&root), Totals::default());
    loop {
        match walk.next().await {
            Ok(Some(walked)) => {
                if let Some(problem) = unreadable(&walked) {
                    return Ok(Err(problem));
                }
                totals.count(&walked);
                writer.write(&ascii(&(line(&walked).to_string() + "\n"))).await?;
            }
            Ok(None) => break,
            Err(error) => return Ok(Err(error.into())),
        }
    }
    let end = json!({ "type": "stats", "stats": totals.to_json() }).to_string() + "\n";
    writer.write(&ascii(&end)).await.map(Ok)
}

/// `t=start-manifest&ophandle=`.
pub(super) async fn start(call: &Call) -> Answer {
    let origin = super::check::index(&call.target().await?.cap);
    let (owned, room) = (call.clone(), call.gateway.tahoe().lines.clone());
    operations::start(call, Kind::Manifest { origin }, move |progress: Progress| async move {
        let root = owned.target().await?.cap;
        let (mut walk, mut totals) = (owned.client.walk(&root), Totals::default());
        while let Some(walked) = walk.next().await? {
            if let Some(problem) = unreadable(&walked) {
                return Err(problem);
            }
            totals.count(&walked);
            let room = room.clone();
            if !progress.listed(&room, entry(&walked)) {
                return Err(Problem::bad("too many names for handles: t=stream-manifest tells any number"));
            }
            progress.totals(&totals);
        }
        Ok(())
    })
}

fn entry(walked: &Walked) -> Line {
    let path = walked.path.iter().map(Name::to_string).collect();
    let verify = walked.cap.verify().map(|cap| cap.to_string()).unwrap_or_default();
    Line { path, cap: walked.cap.to_string(), verify }
}
