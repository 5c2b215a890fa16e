//! `ufr metrics`, asked as scrapers and others ask, and its file read as a collector reads it.

#[allow(dead_code)]
mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Stdio};
use std::time::Duration;

use common::{Place, error_of, interrupt, until};

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server on a port that is free.
struct Server {
    process: Running,
    address: SocketAddr,
    says: BufReader<ChildStderr>,
}

impl Server {
    fn start(place: &Place, arguments: &[&str]) -> Self {
        let mut child = place
            .ufr(&[&["metrics", "--listen", "127.0.0.1:0"], arguments].concat())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut says = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        says.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("ufr: serving http://").expect(&line);
        let address = address.strip_suffix("/metrics").unwrap().parse().unwrap();
        Self { process: Running(child), address, says }
    }

    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        client
    }

    /// The head and the body of what is answered.
    fn ask(&self, request: &str) -> (String, String) {
        let mut client = self.connect();
        client.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
        (head.to_string(), body.to_string())
    }

    fn get(&self, path: &str, more: &str) -> (String, String) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: here\r\n{more}\r\n"))
    }
}

/// A place with a ring that three messages were sent through.
fn place() -> Place {
    let place = Place::new();
    place.say(&["create", "orders"]);
    assert!(place.send_bytes(&["orders"], b"one\ntwo\nthree\n").status.success());
    place
}

const SENT: &str = "\nufr_messages_sent_total{ring=\"orders\",class=\"normal\"} 3\n";

#[test]
fn a_scraper_gets_the_format_that_it_asks_for() {
    let place = place();
    let server = Server::start(&place, &[]);
    let (head, body) = server.get("/metrics", "");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
    assert!(body.contains(SENT) && body.contains("# TYPE ufr_messages_sent_total counter"));
    assert!(!body.contains("# EOF"));
    let accept = "accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";
    let (head, body) = server.get("/metrics?name=ignored", accept);
    let kind = "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    assert!(head.contains(kind), "{head}");
    assert!(body.contains(SENT) && body.contains("# TYPE ufr_messages_sent counter"));
    assert!(body.ends_with("# EOF\n"));
    let (head, body) = server.ask("HEAD /metrics HTTP/1.1\r\nHost: here\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("Content-Length: "));
    assert_eq!(body, "");
}

#[test]
fn what_is_no_request_for_the_page_is_refused() {
    let place = place();
    let server = Server::start(&place, &[]);
    assert!(server.get("/", "").1.contains("/metrics"));
    for (request, status) in [
        ("GET /other HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("GET /metrics/ HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("DELETE /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        ("POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "405 Method Not Allowed"),
        ("GET\r\n\r\n", "400 Bad Request"),
        ("\x01\x02\x03 nonsense\r\n\r\n", "400 Bad Request"),
        ("GET /metrics HTTP/9.9\r\n\r\n", "400 Bad Request"),
        (
            &format!("GET /metrics HTTP/1.1\r\nCookie: {}\r\n\r\n", "x".repeat(9_000)),
            "431 Request Header Fields Too Large",
        ),
        (
            &format!("GET /metrics HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(100)),
            "431 Request Header Fields Too Large",
        ),
    ] {
        let (head, _) = server.ask(request);
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request:?}: {head}");
        assert_eq!(head.contains("\r\nAllow: GET, HEAD\r\n"), status.starts_with("405"));
    }
}

#[test]
fn clients_that_say_nothing_or_leave_hold_up_no_other() {
    let place = place();
    let server = Server::start(&place, &[]);
    let mut silent: Vec<_> = (0..3).map(|_| server.connect()).collect();
    assert!(server.get("/metrics", "").1.contains(SENT));
    // Until there are more than are answered at a time.
    until("one is told to come again", || {
        let mut one = server.connect();
        one.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut answer = String::new();
        let told = one.read_to_string(&mut answer).is_ok();
        silent.push(one);
        told && answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n")
    });
    silent[0].write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
    drop(silent);
    until("it answers again", || {
        let mut client = server.connect();
        client.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).is_ok() && answer.contains(SENT)
    });
}

#[test]
fn a_request_may_come_in_pieces() {
    let place = place();
    let server = Server::start(&place, &[]);
    let mut client = server.connect();
    for piece in ["GE", "T /metrics HT", "TP/1.1\r\nHos", "t: here\r\n\r", "\n"] {
        client.write_all(piece.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(SENT), "{answer}");
}

#[test]
fn a_damaged_ring_is_said_once_and_the_others_are_served() {
    let place = place();
    place.say(&["create", "cut"]);
    let mut server = Server::start(&place, &[]);
    assert!(server.get("/metrics", "").1.contains("\nufr_ring_up{ring=\"cut\"} 1\n"));
    let file = fs::File::options().write(true).open(place.path().join("ufr-cut")).unwrap();
    file.set_len(64).unwrap();
    for _ in 0..2 {
        let body = server.get("/metrics", "").1;
        assert!(body.contains("\nufr_ring_up{ring=\"cut\"} 0\n") && body.contains(SENT), "{body}");
    }
    fs::remove_file(place.path().join("ufr-cut")).unwrap();
    assert!(!server.get("/metrics", "").1.contains("cut"));
    interrupt(&server.process.0);
    let mut said = String::new();
    server.says.read_to_string(&mut said).unwrap();
    assert_eq!(server.process.0.wait().unwrap().code(), Some(130));
    assert_eq!(said.lines().filter(|it| it.contains("cut cannot be looked into")).count(), 1);
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_directory_that_goes_and_comes_back_fails_scrapes_in_between() {
    let place = place();
    let (here, there) = (place.path().join("rings"), place.path().join("moved"));
    fs::create_dir(&here).unwrap();
    let server = Server::start(&place, &["--directory", here.to_str().unwrap()]);
    assert!(server.get("/metrics", "").0.starts_with("HTTP/1.1 200 OK"));
    fs::rename(&here, &there).unwrap();
    let (head, body) = server.get("/metrics", "");
    assert!(head.starts_with("HTTP/1.1 500 Internal Server Error") && body.contains("rings"));
    fs::rename(&there, &here).unwrap();
    assert!(server.get("/metrics", "").0.starts_with("HTTP/1.1 200 OK"));
}

#[test]
fn looking_changes_nothing_in_a_ring() {
    let place = place();
    let all = || {
        let files = fs::read_dir(place.path()).unwrap().map(|it| it.unwrap().path());
        let mut files: Vec<_> = files.map(|it| (it.clone(), fs::read(it).unwrap())).collect();
        files.sort();
        files
    };
    let before = all();
    assert_eq!(before.len(), 2);
    let server = Server::start(&place, &[]);
    assert!(server.get("/metrics", "").1.contains(SENT));
    assert!(all() == before, "a file of the ring is not as it was");
}

/// Names in a directory.
fn names(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap().map(|it| it.unwrap().file_name());
    names.map(|it| it.into_string().unwrap()).collect()
}

#[test]
fn a_reader_of_the_file_sees_it_whole_and_nothing_is_left_beside_it() {
    let place = place();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ufr.prom");
    let path = folder.path().to_str().unwrap();
    let arguments = ["metrics", "--textfile", path, "--interval", "100ms"];
    let mut writer = Running(place.ufr(&arguments).spawn().unwrap());
    until("the file is there", || file.exists());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    let inode = || std::os::unix::fs::MetadataExt::ino(&fs::metadata(&file).unwrap());
    let first = inode();
    until("it is written again", || {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(SENT) && text.ends_with("} 1\n"), "{text}");
        inode() != first
    });
    assert!(place.send_bytes(&["orders"], b"four\n").status.success());
    until("it tells of what is new", || {
        fs::read_to_string(&file).unwrap().contains("{ring=\"orders\",class=\"normal\"} 4\n")
    });
    let pid = rustix::process::Pid::from_child(&writer.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(writer.0.wait().unwrap().code(), Some(143));
    assert_eq!(names(folder.path()), ["ufr.prom"]);
}

#[test]
fn once_is_to_standard_output_or_to_the_file() {
    let place = place();
    assert!(place.say(&["metrics", "--once"]).contains(SENT));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    assert_eq!(place.say(&["metrics", "--once", "--textfile", path]), "");
    assert!(fs::read_to_string(folder.path().join("ufr.prom")).unwrap().contains(SENT));
    let gone = place.run(&["metrics", "--once", "--textfile", "/nowhere/at/all"]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(error_of(&gone).contains("cannot write /nowhere/at/all/ufr.prom"), "{gone:?}");
    let few = place.say(&["metrics", "--once", "--most", "0"]);
    assert!(few.contains("\nufr_rings{state=\"left_out\"} 1\n"), "{few}");
}

#[test]
fn an_address_that_is_taken_or_none_is_said() {
    let place = place();
    let server = Server::start(&place, &[]);
    let again = place.run(&["metrics", "--listen", &server.address.to_string()]);
    assert_eq!(again.status.code(), Some(1));
    assert!(error_of(&again).contains("choose another with --listen"), "{again:?}");
    for wrong in ["nonsense", "127.0.0.1", "localhost:http"] {
        assert_eq!(place.run(&["metrics", "--listen", wrong]).status.code(), Some(2), "{wrong}");
    }
    let often = place.run(&["metrics", "--textfile", "/tmp", "--interval", "1ms"]);
    assert!(often.status.code() == Some(2) && error_of(&often).contains("100ms"), "{often:?}");
}
