//! Connections that are slow, many, or silent. Literals are served without a grid.

use std::net::SocketAddr;
use std::time::Duration;

use client::{Client, GridView, Seams, Settings, Shares, Timeouts};
use gateway::Gateway;
use gateway::serve::{Bounds, Tls, serve_within};
use protocol::NodeKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::common::{TOKEN, settings};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Running {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<std::io::Result<usize>>,
}

async fn start(bounds: Bounds) -> Running {
    start_with(bounds, None).await
}

pub(crate) async fn start_with(bounds: Bounds, tls: Option<Tls>) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let own = Settings {
        introducers: Vec::new(),
        shares: "1/1/1".parse::<Shares>().unwrap(),
        zone: None,
        pinned: Vec::new(),
        owner: None,
        convergence: [7; 32].into(),
        timeouts: Timeouts::default(),
    };
    let seams = Seams::real(&NodeKey::from_seed(&[1; 32])).unwrap();
    let client = Client::new(own, GridView::empty(), seams).unwrap();
    let gateway = Gateway::new(client, gateway::Settings { tls: tls.is_some(), ..settings(address) });
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(serve_within(listener, gateway, tls, bounds, async {
        let _ = stopped.await;
    }));
    Running { address, stop: Some(stop), task }
}

impl Running {
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    pub(crate) fn head(&self, method: &str, more: &str) -> String {
        format!("{method} /uri/URI:LIT:nbswy3dp HTTP/1.1\r\nHost: {}\r\n{more}\r\n", self.address)
    }

    /// One whole exchange.
    async fn get(&self) -> String {
        let mut stream = self.connect().await;
        stream.write_all(self.head("GET", "Connection: close\r\n").as_bytes()).await.unwrap();
        read_all(&mut stream).await
    }
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    // A connection that is reset has told all it had to.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("it ends");
    String::from_utf8(all).unwrap()
}

#[tokio::test]
async fn those_that_say_nothing_make_room_for_others() {
    let bounds = Bounds { connections: 4, head: Duration::from_secs(3600), ..Bounds::default() };
    let running = start(bounds).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        let mut stream = running.connect().await;
        stream.write_all(b"GET /uri").await.unwrap();
        silent.push(stream);
    }
    let begun = Instant::now();
    let answer = timeout(PATIENCE, running.get()).await.expect("others are served");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(read_all(&mut silent[0]).await, "", "the longest silent one is closed");
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_its_connection() {
    let running = start(Bounds { head: Duration::from_millis(200), ..Bounds::default() }).await;
    let mut slow = running.connect().await;
    slow.write_all(b"GET /uri/x HTTP/1.1\r\nHost:").await.unwrap();
    let said = read_all(&mut slow).await;
    assert!(!said.contains("200 OK"), "{said}");
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_its_request() {
    let running = start(Bounds { idle: Duration::from_millis(200), ..Bounds::default() }).await;
    let mut slow = running.connect().await;
    let head = format!("PUT /uri HTTP/1.1\r\nHost: {}\r\nContent-Length: 1000\r\n\r\nsome", running.address);
    slow.write_all(head.as_bytes()).await.unwrap();
    let said = read_all(&mut slow).await;
    assert!(said.starts_with("HTTP/1.1 408") || said.starts_with("HTTP/1.1 400"), "{said}");
}

#[tokio::test]
async fn a_body_that_drips_ends_its_request() {
    let bounds = Bounds { grace: Duration::from_millis(300), rate: 1024, ..Bounds::default() };
    let running = start(bounds).await;
    let mut slow = running.connect().await;
    let head = format!("PUT /uri HTTP/1.1\r\nHost: {}\r\nContent-Length: 100000\r\n\r\n", running.address);
    slow.write_all(head.as_bytes()).await.unwrap();
    let (mut read, mut write) = slow.into_split();
    // Never silent for long, and far below the rate.
    let drip = tokio::spawn(async move {
        while write.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut said = [0; 12];
    timeout(PATIENCE, read.read_exact(&mut said)).await.expect("it ends").unwrap();
    assert!(matches!(&said, b"HTTP/1.1 408" | b"HTTP/1.1 400"), "{said:?}");
    drip.abort();
}

/// Asks for more than the system holds back, with little room for what comes. What the answers have in all is to be at least `least` bytes.
async fn ask_for_much(running: &Running, least: usize) -> TcpStream {
    let mut one = running.connect().await;
    let ask =
        |more: &str| format!("GET /api/openapi.json HTTP/1.1\r\nHost: {}\r\n{more}\r\n", running.address);
    one.write_all(ask("Connection: close\r\n").as_bytes()).await.unwrap();
    let each = read_all(&mut one).await.len();
    drop(one);
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(running.address).await.unwrap();
    let requests = ask("").repeat(least / each) + &ask("Connection: close\r\n");
    stream.write_all(requests.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_reader_that_takes_nothing_loses_its_connection() {
    let running = start(Bounds { taking: Duration::from_millis(300), ..Bounds::default() }).await;
    let mut paused = ask_for_much(&running, 3_000_000).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let got = read_all(&mut paused).await;
    assert!(got.starts_with("HTTP/1.1 200") && got.len() < 1_500_000, "{} bytes came", got.len());
}

#[tokio::test]
async fn a_reader_that_sips_loses_its_connection() {
    let bounds = Bounds { taking: Duration::from_millis(500), rate: 1 << 20, ..Bounds::default() };
    let running = start(bounds).await;
    let mut slow = ask_for_much(&running, 6_000_000).await;
    let (mut sip, mut got) = ([0; 16 * 1024], 0);
    // Never silent for long, and at a third of the rate.
    loop {
        match timeout(PATIENCE, slow.read(&mut sip)).await.expect("it goes on or ends") {
            Ok(1..) => got += sip.len(),
            _ => break,
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(got < 3_000_000, "{got} bytes at a third of the rate");
}

#[tokio::test]
async fn a_reader_that_is_slow_enough_gets_all() {
    let bounds = Bounds { taking: Duration::from_millis(1000), rate: 64 * 1024, ..Bounds::default() };
    let running = start(bounds).await;
    let mut slow = ask_for_much(&running, 3_000_000).await;
    let (mut piece, mut got) = (vec![0; 64 * 1024], 0);
    // In lumps, with pauses, and above the rate. This takes far longer than a reader has for nothing.
    let begun = Instant::now();
    loop {
        let mut lump = 0;
        while lump < 256 * 1024 {
            let took = timeout(PATIENCE, slow.read(&mut piece)).await.expect("it comes").unwrap();
            if took == 0 {
                assert!(got + lump >= 3_000_000, "{} bytes", got + lump);
                assert!(begun.elapsed() > Duration::from_secs(2));
                return;
            }
            lump += took;
        }
        got += lump;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test]
async fn heads_have_bounds() {
    let running = start(Bounds::default()).await;
    let many: String = (0..100).map(|number| format!("x-{number}: y\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(300_000));
    for more in [many, long] {
        let mut stream = running.connect().await;
        let _ = stream.write_all(running.head("GET", &more).as_bytes()).await;
        let said = read_all(&mut stream).await;
        assert!(!said.contains("200 OK"), "{said}");
    }
    assert!(running.get().await.ends_with("hello"));
}

#[tokio::test]
async fn stopping_has_a_bound() {
    let mut running = start(Bounds { stop: Duration::from_millis(300), ..Bounds::default() }).await;
    let mut under_way = running.connect().await;
    let head = format!("PUT /uri HTTP/1.1\r\nHost: {}\r\nContent-Length: 1000\r\n\r\nsome", running.address);
    under_way.write_all(head.as_bytes()).await.unwrap();
    assert!(running.get().await.ends_with("hello"));
    running.stop.take().unwrap().send(()).unwrap();
    let given_up = timeout(PATIENCE, running.task).await.expect("it stops").unwrap().unwrap();
    assert_eq!(given_up, 1, "those that were answered do not count");
}

#[tokio::test]
async fn who_watches_keeps_no_gateway_from_stopping() {
    let mut running = start(Bounds { stop: PATIENCE, ..Bounds::default() }).await;
    let mut watching = running.connect().await;
    let head = format!(
        "GET /api/events HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n",
        running.address
    );
    watching.write_all(head.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).contains("transfers") {
        let read = timeout(PATIENCE, watching.read_buf(&mut said)).await.expect("it says something").unwrap();
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&said));
    }
    let begun = Instant::now();
    running.stop.take().unwrap().send(()).unwrap();
    let given_up = timeout(PATIENCE, running.task).await.expect("it stops").unwrap().unwrap();
    assert_eq!(given_up, 0);
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
    read_all(&mut watching).await;
}
