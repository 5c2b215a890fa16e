//! A process of the acceptance test, in Rust: as `peer.c`.

use std::error::Error;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use ultrafastring::{Builder, Consumer, PriorityClass, Producer, RecvError, SendError};

type Outcome = Result<(), Box<dyn Error>>;

/// As in `exchange.h`, so `MOST` and the log.
const LARGEST: u64 = 2000;
const MOST: usize = 1 << 25;
const ALIKE: u64 = 16;
/// A wait after which a worker looks whether it is to stop.
const SOON: Duration = Duration::from_millis(20);

#[repr(C)]
struct Log {
    next: AtomicU64,
    stop: AtomicU64,
    large: AtomicU64,
    until: AtomicU64,
    sent: [AtomicU8; MOST],
    received: [AtomicU8; MOST],
}

impl Log {
    fn map(path: &str) -> Result<&'static Self, Box<dyn Error>> {
        let file = File::options().read(true).write(true).open(path)?;
        let (rights, size) = (libc::PROT_READ | libc::PROT_WRITE, size_of::<Self>());
        // SAFETY: a new mapping of a file of that size, which stays.
        let memory = unsafe {
            libc::mmap(std::ptr::null_mut(), size, rights, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        if memory == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error().into());
        }
        // SAFETY: mapped as long as this process lives, and all of it atomics.
        Ok(unsafe { &*memory.cast::<Self>() })
    }

    fn stopped(&self) -> bool {
        self.stop.load(SeqCst) != 0
    }

    /// Waits until messages may be begun; false if the workers are to stop.
    fn goes_on(&self) -> bool {
        while !self.stopped() {
            if self.next.load(SeqCst) < self.until.load(SeqCst) {
                return true;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        false
    }

    fn is_large(&self, number: u64) -> bool {
        self.large.load(SeqCst) != 0 && number.is_multiple_of(2)
    }

    fn note(&self, bytes: &[u8], redelivered: bool) -> Outcome {
        let number = u64::from_ne_bytes(bytes.get(..8).ok_or("a message is cut")?.try_into()?);
        if number >= MOST as u64 || bytes != message(number, self.is_large(number)) {
            return Err("a message is not one that was sent".into());
        }
        self.received[number as usize].fetch_add(if redelivered { 16 } else { 1 }, SeqCst);
        Ok(())
    }
}

fn message(number: u64, large: bool) -> Vec<u8> {
    let size = if large { 41 + number * 37 % (LARGEST - 40) } else { 8 + number / ALIKE % 33 };
    let mut bytes = vec![number.wrapping_mul(31) as u8; size as usize];
    bytes[..8].copy_from_slice(&number.to_ne_bytes());
    bytes
}

fn class_of(number: u64) -> PriorityClass {
    PriorityClass::ALL[(number / ALIKE) as usize % 5]
}

fn send_all(mut producer: Producer, count: u64, large: bool) -> Outcome {
    // A receiver that finds something wrong ends.
    producer.end_when_deserted(true);
    for number in 0..count {
        producer.send(&message(number, large), class_of(number))?;
    }
    producer.close();
    Ok(())
}

fn receive_all(mut consumer: Consumer, count: u64, large: bool) -> Outcome {
    let mut bytes = Vec::new();
    for number in 0.. {
        match consumer.recv_into(&mut bytes) {
            Ok(about) => {
                let same = bytes == message(number, large) && about.class == class_of(number);
                if !same || about.position() != number {
                    return Err(format!("message {number} is another one").into());
                }
            }
            Err(RecvError::Closed) if number == count => break,
            Err(error) => return Err(format!("after {number} messages: {error}").into()),
        }
    }
    Ok(())
}

/// Whether it went well; what it waits for too long is no failure.
fn went(sent: Result<(), SendError>) -> Result<bool, SendError> {
    match sent {
        Err(SendError::TimedOut) => Ok(false),
        sent => sent.map(|()| true),
    }
}

fn produce(mut producer: Producer, log: &Log) -> Outcome {
    while log.goes_on() {
        // In turn one by one, written in place, and in batches.
        let way = log.next.load(SeqCst) / ALIKE % 3;
        let count = if way == 2 { 3 } else { 1 };
        let first = log.next.fetch_add(count, SeqCst);
        if (first + count) as usize > MOST {
            return Ok(());
        }
        let messages: Vec<_> =
            (first..first + count).map(|number| message(number, log.is_large(number))).collect();
        (first..first + count).for_each(|number| log.sent[number as usize].store(1, SeqCst));
        let (class, mut done) = (class_of(first), 0);
        while done < messages.len() && !log.stopped() {
            let rest = &messages[done..];
            let sent = match way {
                0 => usize::from(went(producer.send_timeout(&rest[0], class, SOON))?),
                1 => match producer.reserve_timeout(rest[0].len(), class, SOON) {
                    Ok(mut place) => {
                        place.copy_from_slice(&rest[0]);
                        place.commit();
                        1
                    }
                    Err(error) => usize::from(went(Err(error))?),
                },
                _ => match producer.send_many_timeout(rest, class, SOON) {
                    Ok(()) => rest.len(),
                    Err(error) => {
                        went(Err(error.reason))?;
                        error.sent
                    }
                },
            };
            let from = first as usize + done;
            (from..from + sent).for_each(|number| log.sent[number].store(2, SeqCst));
            done += sent;
        }
    }
    Ok(())
}

fn consume(mut consumer: Consumer, log: &Log) -> Outcome {
    while !log.stopped() {
        match consumer.borrow_timeout(SOON) {
            Ok(message) => log.note(&message.to_vec(), message.is_redelivered())?,
            Err(RecvError::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, what, directory, name, rest @ ..] = &arguments[..] else {
        return Err("peer WHAT DIRECTORY NAME ...".into());
    };
    let ring = Builder::new().directory(directory).open(name)?;
    match (what.as_str(), rest) {
        ("send", [count, kind]) => send_all(ring.producer()?, count.parse()?, kind == "large"),
        ("recv", [count, kind]) => receive_all(ring.consumer()?, count.parse()?, kind == "large"),
        ("produce", [log]) => produce(ring.producer()?, Log::map(log)?),
        ("consume", [log]) => consume(ring.consumer()?, Log::map(log)?),
        _ => Err("peer send, recv, produce or consume".into()),
    }
}
