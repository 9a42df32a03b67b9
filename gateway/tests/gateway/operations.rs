//! Work under a handle.

use std::time::Duration;

use axum::body::Body;

use crate::common::{Answer, Site, noise};

async fn start(site: &Site, dir: &str, more: &str) -> Answer {
    let path = format!("/uri/{dir}?t=start-deep-stats&ophandle=h{more}");
    site.ask("POST", &path, &[], Body::empty()).await
}

#[tokio::test(start_paused = true)]
async fn a_handle_is_taken_while_its_work_is_under_way() {
    let site = Site::start(50).await;
    let dir = site.mkdir().await;
    site.ask("PUT", &format!("/uri/{dir}/a"), &[], noise(1, 5000)).await.is(201);
    start(&site, &dir, "").await.is(302);
    start(&site, &dir, "").await.is(409);
    assert_eq!(finished(&site, "").await["count-files"], 1);
    start(&site, &dir, "").await.is(302);
    site.ask("POST", "/operations/h?t=cancel", &[], Body::empty()).await.is(200);
    start(&site, &dir, "").await.is(302);
}

async fn finished(site: &Site, more: &str) -> serde_json::Value {
    loop {
        let answer = site.get(&format!("/operations/h?t=status&output=JSON{more}")).await.is(200).json();
        if answer["finished"] == true {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_looks_at_results_takes_them_from_nobody() {
    let site = Site::start(51).await;
    let dir = site.mkdir().await;
    let wait = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
    let status = async || site.get("/operations/h?output=JSON").await.status.as_u16();
    start(&site, &dir, "").await.is(302);
    finished(&site, "&retain-for=1").await;
    wait(23 * 3600).await;
    assert_eq!(status().await, 200, "a GET does not shorten its time");
    wait(2 * 3600).await;
    assert_eq!(status().await, 404, "nor does one prolong it");
    // As the stock client asks.
    start(&site, &dir, "").await.is(302);
    finished(&site, "&release-after-complete=true").await;
    finished(&site, "&release-after-complete=true").await;
    wait(50).await;
    assert_eq!(status().await, 200);
    wait(11).await;
    assert_eq!(status().await, 404);
    start(&site, &dir, "").await.is(302);
    finished(&site, "").await;
    site.ask("POST", "/operations/h?retain-for=5", &[], Body::empty()).await.is(200);
    wait(4).await;
    assert_eq!(status().await, 200);
    wait(2).await;
    assert_eq!(status().await, 404);
}

#[tokio::test(start_paused = true)]
async fn results_that_nobody_will_fetch_again_make_room() {
    let site = Site::start(52).await;
    let dir = site.mkdir().await;
    for number in 0..300 {
        let path = format!("/uri/{dir}?t=start-deep-stats&ophandle=h{number}");
        site.ask("POST", &path, &[], Body::empty()).await.is(302);
        let path = format!("/operations/h{number}?output=JSON&release-after-complete=true");
        while site.get(&path).await.is(200).json()["finished"] != true {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
