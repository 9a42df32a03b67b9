//! Pages without script, as a browser walks through them.

use axum::body::Body;

use crate::common::{Answer, Site};

/// What a browser says of itself when somebody follows a link.
const BROWSER: [(&str, &str); 3] =
    [("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];

async fn go(site: &Site, to: &str) -> Answer {
    site.ask("GET", to, &BROWSER, Body::empty()).await
}

/// Where the link with this text leads to; `text` is what stands in it.
fn link(page: &str, text: &str) -> String {
    let before = &page[..page.find(text).unwrap_or_else(|| panic!("no {text} in {page}"))];
    before.rsplit("href=\"").next().unwrap().split('"').next().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_directory_is_listed_and_downloaded_without_script() {
    let site = Site::start(41).await;
    let dir = site.mkdir().await;
    site.ask("PUT", &format!("/uri/{dir}/a%20b/c%2Bd/notes.txt"), &[], "stones").await.is(201);
    site.ask("PUT", &format!("/uri/{dir}/a%20b/big.bin"), &[], vec![7; 1_234_567]).await.is(201);

    let front = site.get("/").await.is(200).text();
    let form = front.split("<noscript>").nth(1).unwrap().split("</noscript>").next().unwrap();
    assert!(form.contains("<form class=\"inline\" action=\"/uri\" method=\"get\">"), "{form}");
    assert!(form.contains("<input name=\"uri\"") && form.contains("autocomplete=\"off\""), "{form}");
    let found = go(&site, &format!("/uri?uri={}", dir.replace(':', "%3A"))).await.is(302);
    assert!(found.header("content-security-policy").contains("form-action 'self'"));

    let top = go(&site, found.header("location")).await.is(200).text();
    let below = go(&site, &link(&top, "<bdi>a b</bdi>/")).await.is(200).text();
    assert!(below.contains("title=\"1234567 bytes\">1.2 MB<") && below.contains(", UTC"));
    let date = below.split("<td class=\"n\">").nth(1).unwrap().split('<').next().unwrap();
    assert!(date.len() == 10 && date.split('-').count() == 3, "{date}");
    let saved = go(&site, &link(&below, "title=\"Download big.bin\"")).await.is(200);
    assert_eq!(saved.body, vec![7; 1_234_567]);
    assert!(saved.header("content-disposition").starts_with("attachment"));
    let deep = go(&site, &link(&below, "<bdi>c+d</bdi>/")).await.is(200).text();
    assert_eq!(go(&site, &link(&deep, "<bdi>notes.txt</bdi>")).await.is(200).text(), "stones");
    // And back: each step of the way is a link.
    assert_eq!(link(&deep, "<bdi>a b</bdi>"), link(&top, "<bdi>a b</bdi>/"));
    assert_eq!(go(&site, &link(&deep, "Top</a>")).await.is(200).text(), top);
    for page in [&top, &below, &deep] {
        assert!(page.contains("name=\"viewport\"") && page.contains("color-scheme:light dark"));
        assert!(!page.contains("<script"));
    }
}
