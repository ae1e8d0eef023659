//! The listener: accepts connections up to a limit, beyond which idle ones make room, and speaks HTTP/1.1 on them. Slow senders of headers are cut off, and with TLS those who do not speak it. Knows
//! nothing of routes.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout};
use tower_service::Service as _;

use super::{Certified, ConnectionPermit};
use crate::tls::{Accepted, Duplex, Tls};

/// How long the head of a request may take, and how long a connection may stay without one.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Where there is no room for another connection, those without a request for so long make room.
const IDLE_MIN: Duration = Duration::from_secs(1);
/// How often they are asked to, until there is room.
const CROWD_INTERVAL: Duration = Duration::from_millis(250);
/// Pause after the system refused a connection, for example because too many files are open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A listener that is bound.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    tls: Option<Tls>,
    connections: Arc<Semaphore>,
    /// There is no room: idle connections are to end.
    crowded: Arc<Notify>,
}

impl Server {
    /// Binds the listener. Beyond `connections_max` connections of clients and nodes together, the next ones wait.
    ///
    /// # Errors
    /// What the system says: the address is in use, or not of this machine.
    pub async fn bind(address: SocketAddr, connections_max: usize, tls: Option<Tls>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let connections = Arc::new(Semaphore::new(connections_max));
        Ok(Self { listener, tls, connections, crowded: Arc::default() })
    }

    /// Binds another listener, whose connections count together with those of this one.
    ///
    /// # Errors
    /// As of the first one.
    pub async fn beside(&self, address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let (connections, crowded) = (self.connections.clone(), self.crowded.clone());
        Ok(Self { listener, tls: self.tls.clone(), connections, crowded })
    }

    /// Accepts connections until `stop` says so, and then lets those that are open end after their current request.
    pub async fn run(self, router: Router, mut stop: watch::Receiver<bool>) {
        loop {
            let permit = tokio::select! {
                permit = self.room() => permit,
                () = stopped(&mut stop) => return,
            };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stopped(&mut stop) => return,
            };
            match accepted {
                Ok((stream, _)) => {
                    let permit = ConnectionPermit(Arc::new(permit));
                    let ends = Ends { stop: stop.clone(), crowded: self.crowded.clone() };
                    tokio::spawn(greet(stream, self.tls.clone(), router.clone(), permit, ends));
                }
                Err(error) => {
                    tracing::debug!("a connection was not accepted: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl Server {
    /// Waits for the place of one more connection. Who does nothing with his makes room for it.
    async fn room(&self) -> OwnedSemaphorePermit {
        loop {
            let permit = self.connections.clone().acquire_owned();
            if let Ok(permit) = timeout(CROWD_INTERVAL, permit).await {
                return permit.expect("the semaphore is never closed");
            }
            self.crowded.notify_waiters();
        }
    }
}

/// What makes a connection end before its time.
struct Ends {
    stop: watch::Receiver<bool>,
    crowded: Arc<Notify>,
}

/// What one connection is doing.
struct Activity {
    requests: usize,
    /// When it began, its last request ended, or the other side took a part of the answer.
    since: Instant,
}

impl Activity {
    fn is_idle(&self) -> bool {
        self.requests == 0 && self.since.elapsed() >= IDLE_MIN
    }
}

/// A request, from its head to the end of its answer.
struct Busy(Arc<Mutex<Activity>>);

impl Busy {
    fn begin(activity: Arc<Mutex<Activity>>) -> Self {
        locked(&activity).requests += 1;
        Self(activity)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut activity = locked(&self.0);
        (activity.requests, activity.since) = (activity.requests - 1, Instant::now());
    }
}

/// The body of an answer, whose end is that of the request.
struct Answering {
    body: axum::body::Body,
    _busy: Busy,
}

impl Body for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection of which it is seen when the other side takes something.
struct Watched {
    stream: Box<dyn Duplex>,
    activity: Arc<Mutex<Activity>>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if written.is_ready() {
            locked(&self.activity).since = Instant::now();
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        if written.is_ready() {
            locked(&self.activity).since = Instant::now();
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Returns once there is no room and nothing happens on the connection.
async fn in_the_way(crowded: &Notify, activity: &Mutex<Activity>) {
    loop {
        crowded.notified().await;
        if locked(activity).is_idle() {
            return;
        }
    }
}

fn locked(activity: &Mutex<Activity>) -> MutexGuard<'_, Activity> {
    activity.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns once the server is to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // If nobody can say so any more, it is to stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn greet(stream: TcpStream, tls: Option<Tls>, router: Router, permit: ConnectionPermit, ends: Ends) {
    let agreed = async {
        crate::peer::tune(&stream)?;
        match tls {
            Some(tls) => tls.accept(stream).await,
            None => Ok(Accepted { stream: Box::new(stream), is_certified: false }),
        }
    };
    match agreed.await {
        Ok(accepted) => serve(accepted, router, permit, ends).await,
        Err(error) => tracing::debug!("a connection ended before it was served: {error}"),
    }
}

async fn serve(accepted: Accepted, router: Router, permit: ConnectionPermit, mut ends: Ends) {
    let Accepted { stream, is_certified } = accepted;
    let held = permit.clone();
    let activity = Arc::new(Mutex::new(Activity { requests: 0, since: Instant::now() }));
    let seen = activity.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (mut router, mut request) = (router.clone(), request.map(axum::body::Body::new));
        request.extensions_mut().insert(permit.clone());
        if is_certified {
            request.extensions_mut().insert(Certified);
        }
        let activity = seen.clone();
        async move {
            let busy = Busy::begin(activity);
            let response = router.call(request).await;
            response.map(|response| response.map(|body| Answering { body, _busy: busy }))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(Watched { stream, activity: activity.clone() }), service)
        .with_upgrades();
    tokio::pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        () = stopped(&mut ends.stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = in_the_way(&ends.crowded, &activity) => {
            tracing::trace!("an idle connection makes room for another one");
            return;
        }
    };
    if let Err(error) = result {
        tracing::trace!("a connection ended: {error}");
    }
    drop(held);
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    fn router() -> Router {
        Router::new().route("/", get(async || "served"))
    }

    /// A connection that the server holds, and how long it takes until the server ends it, whatever was sent before.
    async fn ended_after(sent: &[u8]) -> Duration {
        let (mut near, far) = tokio::io::duplex(65_536);
        let room = Arc::new(Semaphore::new(1)).acquire_owned().await.expect("open");
        let (_stop, stop) = watch::channel(false);
        let ends = Ends { stop, crowded: Arc::default() };
        let accepted = Accepted { stream: Box::new(far), is_certified: false };
        tokio::spawn(serve(accepted, router(), ConnectionPermit(Arc::new(room)), ends));
        near.write_all(sent).await.expect("there is room");
        let (begun, mut answer) = (Instant::now(), Vec::new());
        timeout(HEADER_TIMEOUT * 2, near.read_to_end(&mut answer)).await.expect("it ends").expect("reads");
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_end_and_a_connection_without_one_are_given_up() {
        for sent in [&b""[..], b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", REQUEST] {
            let took = ended_after(sent).await;
            assert!(took.abs_diff(HEADER_TIMEOUT) < Duration::from_secs(1), "{took:?}");
        }
    }

    #[tokio::test]
    async fn who_does_nothing_makes_room_for_who_asks() {
        let (router, started) = (router(), Arc::new(Notify::new()));
        let (begun, (release, wait)) = (started.clone(), watch::channel(false));
        let slow = get(async move || {
            begun.notify_one();
            stopped(&mut wait.clone()).await;
            "slow"
        });
        let server = Server::bind("127.0.0.1:0".parse().expect("an address"), 3, None).await.expect("binds");
        let address = server.listener.local_addr().expect("bound");
        let (_stop, stop) = watch::channel(false);
        tokio::spawn(server.run(router.route("/slow", slow), stop));
        let mut busy = TcpStream::connect(address).await.expect("connects");
        busy.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.expect("writes");
        started.notified().await;
        let mut idle = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(address).await.expect("connects");
            stream.write_all(b"GET / HTTP/1.1\r\nX-Slow: ").await.expect("writes");
            idle.push(stream);
        }
        for _ in 0..5 {
            let mut stream = TcpStream::connect(address).await.expect("connects");
            stream.write_all(REQUEST).await.expect("writes");
            let mut answer = [0; 12];
            let read = timeout(Duration::from_secs(20), stream.read_exact(&mut answer)).await;
            read.expect("there is room in time").expect("answered");
            assert_eq!(&answer, b"HTTP/1.1 200");
            idle.push(stream);
        }
        // Whoever was served meanwhile has kept his place.
        release.send(true).expect("somebody waits");
        let mut answer = String::new();
        busy.read_to_string(&mut answer).await.expect("answered");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("slow"), "{answer}");
    }

    /// Takes a large answer bit by bit with a pause before each, in a crowd; gives how much came.
    async fn taken_with_pauses(pause: Duration) -> usize {
        let (mut near, far) = tokio::io::duplex(1_024);
        let room = Arc::new(Semaphore::new(1)).acquire_owned().await.expect("open");
        let (_stop, stop) = watch::channel(false);
        let crowded = Arc::new(Notify::new());
        let ends = Ends { stop, crowded: crowded.clone() };
        let router = Router::new().route("/", get(async || "x".repeat(10_240)));
        let accepted = Accepted { stream: Box::new(far), is_certified: false };
        let serving = tokio::spawn(serve(accepted, router, ConnectionPermit(Arc::new(room)), ends));
        near.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.expect("there is room");
        let (mut part, mut taken) = ([0; 1_024], 0);
        loop {
            let count = near.read(&mut part).await.expect("reads");
            taken += count;
            if count == 0 {
                serving.await.expect("it ends");
                return taken;
            }
            // What can be written now is written, and then time passes.
            tokio::task::yield_now().await;
            tokio::time::advance(pause).await;
            crowded.notify_waiters();
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_his_answer_slowly_keeps_his_place_and_who_stops_taking_it_does_not() {
        assert!(taken_with_pauses(IDLE_MIN / 2).await > 10_240);
        assert!(taken_with_pauses(IDLE_MIN * 2).await < 10_240);
    }
}
