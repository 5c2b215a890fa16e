//! A server of one page.
//!
//! The grammar of a request is left to `httparse`; the rest of HTTP that one page needs is here:
//! each connection carries one request and is closed. There is no state, nothing is written, and
//! a body is not read. A thread for each connection, of which there are few at a time, so that a
//! client that says nothing holds up no other.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use ultrafastring_metrics::Format;

use super::Source;
use crate::wait::Stop;

/// How many are answered at a time; others are told to come again.
const MOST_CONNECTIONS: usize = 8;

/// Bytes of the longest head of a request, and its most lines.
const LONGEST_HEAD: usize = 8 << 10;
const MOST_HEADERS: usize = 64;

/// How long a client may take to ask, and again to take the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait after a failure of the machine, such as a lack of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Server {
    listener: TcpListener,
    source: Arc<Source>,
    /// Connections that are being answered.
    active: Arc<AtomicUsize>,
}

/// What a client gets.
struct Answer {
    status: &'static str,
    kind: &'static str,
    /// Further lines of its head.
    more: &'static str,
    body: String,
    /// Only its head is asked for.
    head: bool,
}

impl Answer {
    fn text(status: &'static str, body: impl Into<String>) -> Self {
        let kind = "text/plain; charset=utf-8";
        Self { status, kind, more: "", body: body.into(), head: false }
    }
}

impl Server {
    pub(super) fn on(address: SocketAddr, source: &Arc<Source>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)
            .with_context(|| format!("cannot listen on {address}; choose another with --listen"))?;
        // A client may be gone again before it is accepted.
        listener.set_nonblocking(true)?;
        Ok(Self { listener, source: Arc::clone(source), active: Arc::default() })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([0; 4], 0)))
    }

    /// Waits for a client and lets a thread answer it; returns after `time` at the latest, or when
    /// a signal comes.
    pub(super) fn answer_one(&self, stop: &Stop, time: Option<Duration>) -> io::Result<()> {
        if !stop.or_readable_within(&self.listener, time)? {
            return Ok(());
        }
        let client = match self.listener.accept() {
            Ok((client, _)) => client,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            // The client has gone, or the machine lacks something: neither is a reason to end.
            Err(_) => return stop.or_after(PAUSE),
        };
        // Relaxed: a count.
        if self.active.fetch_add(1, Ordering::Relaxed) >= MOST_CONNECTIONS {
            self.active.fetch_sub(1, Ordering::Relaxed);
            // Into the socket's empty buffer, without waiting.
            let answer = Answer::text("503 Service Unavailable", "too many connections\n");
            let _ = client.set_nonblocking(true).and_then(|()| send(&client, &answer));
            return Ok(());
        }
        let (source, active) = (Arc::clone(&self.source), Arc::clone(&self.active));
        let answering = thread::Builder::new().spawn(move || {
            // What fails here is the client's business.
            let _ = serve(&client, &source);
            active.fetch_sub(1, Ordering::Relaxed);
        });
        if answering.is_err() {
            self.active.fetch_sub(1, Ordering::Relaxed);
            return stop.or_after(PAUSE);
        }
        Ok(())
    }
}

/// Answers the one request of a connection.
fn serve(client: &TcpStream, source: &Source) -> io::Result<()> {
    client.set_nonblocking(false)?;
    let Some(head) = read_head(client)? else { return Ok(()) };
    client.set_write_timeout(Some(PATIENCE))?;
    send(client, &answer(&head, source))?;
    // A connection that is closed with bytes unread is reset, and the answer may be lost with it.
    client.shutdown(Shutdown::Write)?;
    client.set_read_timeout(Some(PATIENCE))?;
    let mut rest = client.take(LONGEST_HEAD as u64);
    io::copy(&mut rest, &mut io::sink()).map(drop)
}

/// The bytes up to the end of a request's head; `None` if the client leaves before.
fn read_head(mut client: &TcpStream) -> io::Result<Option<Vec<u8>>> {
    let deadline = Instant::now() + PATIENCE;
    let (mut head, mut buffer) = (Vec::new(), [0; 1024]);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        client.set_read_timeout(Some(left))?;
        match client.read(&mut buffer) {
            Ok(0) => return Ok(None),
            Ok(count) => head.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let whole = httparse::Request::new(&mut headers).parse(&head);
        if head.len() > LONGEST_HEAD || !matches!(whole, Ok(httparse::Status::Partial)) {
            return Ok(Some(head));
        }
    }
}

/// The answer to a request.
fn answer(head: &[u8], source: &Source) -> Answer {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(length)) if length <= LONGEST_HEAD => {}
        Ok(_) | Err(httparse::Error::TooManyHeaders) => {
            return Answer::text(
                "431 Request Header Fields Too Large",
                "the request is too long\n",
            );
        }
        Err(error) => return Answer::text("400 Bad Request", format!("{error}\n")),
    }
    let head = match request.method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => {
            let refused = Answer::text("405 Method Not Allowed", "only GET and HEAD\n");
            return Answer { more: "Allow: GET, HEAD\r\n", ..refused };
        }
    };
    let path = request.path.unwrap_or_default();
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let answer = match path {
        "/metrics" => {
            let accepts = |it: &&httparse::Header<'_>| it.name.eq_ignore_ascii_case("accept");
            let accepted = request.headers.iter().filter(accepts);
            let accepted: Vec<_> = accepted.map(|it| String::from_utf8_lossy(it.value)).collect();
            let format = Format::accepted(&accepted.join(","));
            match source.text(format) {
                Ok(body) => Answer { kind: format.content_type(), ..Answer::text("200 OK", body) },
                Err(error) => Answer::text("500 Internal Server Error", format!("{error}\n")),
            }
        }
        "/" => Answer::text("200 OK", "ufr: the metrics are at /metrics\n"),
        _ => Answer::text("404 Not Found", "the metrics are at /metrics\n"),
    };
    Answer { head, ..answer }
}

fn send(mut client: &TcpStream, answer: &Answer) -> io::Result<()> {
    let Answer { status, kind, more, body, head } = answer;
    let length = body.len();
    let mut text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{more}\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    );
    if !head {
        text.push_str(body);
    }
    let deadline = Instant::now() + PATIENCE;
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        if Instant::now() > deadline {
            return Err(ErrorKind::TimedOut.into());
        }
        match client.write(rest) {
            Ok(count) => rest = &rest[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
