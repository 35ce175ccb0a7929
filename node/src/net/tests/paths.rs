//! Ways to reach a peer: QUIC when TCP fails, a proxy, again after a failure.

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::*;

#[tokio::test]
async fn quic_carries_when_tcp_cannot() {
    let quic = |config: &mut NetConfig| config.quic = true;
    let mut listener = Node::start(2, TestGate::new(), |config| {
        config.quic = true;
        config.listen = vec!["/ip4/127.0.0.1/udp/0/quic-v1".to_owned()];
    })
    .await;
    let mut dialler = Node::start(1, TestGate::new(), quic).await;
    // The address has both forms; nothing listens on the TCP one.
    dialler
        .net
        .dial(listener.id, &[listener.address()], PRODUCT)
        .expect("an address");
    assert_eq!(dialler.expect_up().await.peer, listener.id);
    assert_eq!(listener.expect_up().await.peer, dialler.id);
    let mut source = dialler.net.ask(listener.id, ask(0..1));
    let reply = listener.expect("ask", |event| match event {
        NetEvent::Asked { reply, .. } => Some(reply),
        _ => None,
    });
    let status = samara_protocol::wire::data::EndStatus::Absent;
    reply.await.end(status).await.expect("ends");
    let end = in_time("an end", source.next()).await.expect("ends");
    assert!(matches!(end, crate::net::ReplyFrame::End(got) if got == status));
}

/// A proxy that knows one name. Gives its address and the targets that it was asked for.
async fn proxy(name: &'static str, to: String) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound").to_string();
    let (targets, asked) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (targets, to) = (targets.clone(), to.clone());
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.expect("a request"));
                }
                let head = String::from_utf8(head).expect("text");
                let target = head.split(' ').nth(1).expect("a target").to_owned();
                assert!(head.starts_with("CONNECT "), "{head}");
                targets.send(target.clone()).await.expect("the test listens");
                if target != name {
                    return client.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await;
                }
                let mut server = TcpStream::connect(to).await.expect("the node listens");
                client
                    .write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
                    .await?;
                copy_bidirectional(&mut client, &mut server).await.map(drop)
            });
        }
    });
    (address, asked)
}

#[tokio::test]
async fn dials_go_through_the_proxy_with_the_name_unresolved() {
    let mut listener = Node::open(2).await;
    let (proxy, mut asked) = proxy("origin.invalid:443", listener.address()).await;
    let through = |config: &mut NetConfig| config.proxy = Some(format!("http://{proxy}"));
    let mut dialler = Node::start(1, TestGate::new(), through).await;
    dialler
        .net
        .dial(listener.id, &["origin.invalid:443".to_owned()], PRODUCT)
        .expect("an address");
    assert_eq!(dialler.expect_up().await.peer, listener.id);
    assert_eq!(listener.expect_up().await.peer, dialler.id);
    assert_eq!(asked.recv().await.as_deref(), Some("origin.invalid:443"));
}

#[tokio::test]
async fn what_the_proxy_refuses_is_an_error_that_names_it_unless_the_address_is_private() {
    let mut near = Node::open(2).await;
    let (proxy, mut asked) = proxy("nothing.invalid:1", near.address()).await;
    let through = |config: &mut NetConfig| config.proxy = Some(format!("http://{proxy}"));
    let mut dialler = Node::start(1, TestGate::new(), through).await;
    dialler
        .net
        .dial(near.id, &["far.invalid:443".to_owned()], PRODUCT)
        .expect("an address");
    let error = dialler.expect_dial_failed().await;
    assert!(error.contains(&proxy) && error.contains("403"), "{error}");
    dialler.dial(&near);
    assert_eq!(dialler.expect_up().await.peer, near.id);
    near.expect_up().await;
    assert_eq!(asked.recv().await.as_deref(), Some("far.invalid:443"));
    assert_eq!(asked.recv().await, Some(near.address()), "the proxy is asked first");
}

#[tokio::test]
async fn a_wanted_peer_is_dialled_until_it_is_there_and_again_when_it_comes_back() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .expect("binds")
        .local_addr()
        .expect("bound")
        .to_string();
    let mut dialler = Node::open(1).await;
    let at = |config: &mut NetConfig| config.listen = vec![free.clone()];
    let peer = id_of(2);
    dialler
        .net
        .want(peer, std::slice::from_ref(&free), PRODUCT)
        .expect("an address");
    let error = dialler.expect_dial_failed().await;
    assert!(
        error.contains(&free) && error.to_lowercase().contains("refused"),
        "{error}"
    );
    let first = Node::start(2, TestGate::new(), at).await;
    assert_eq!(dialler.expect_up().await.peer, peer);
    first.net.shutdown().await;
    assert_eq!(dialler.expect_down().await, peer);
    drop(first);
    let _second = Node::start(2, TestGate::new(), at).await;
    assert_eq!(dialler.expect_up().await.peer, peer);
}

#[tokio::test]
async fn a_path_that_dies_without_a_word_is_noticed() {
    let mut listener = Node::open(2).await;
    let quick = |config: &mut NetConfig| config.silence_max = Duration::from_millis(900);
    let mut dialler = Node::start(1, TestGate::new(), quick).await;
    // A relay that stops moving bytes and closes nothing.
    let relay = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = relay.local_addr().expect("bound").to_string();
    let to = listener.address();
    let (cut, mut is_cut) = tokio::sync::watch::channel(false);
    let relaying = tokio::spawn(async move {
        let (mut client, _) = relay.accept().await.expect("accepts");
        let mut server = TcpStream::connect(to).await.expect("the node listens");
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut server) => {}
            _ = is_cut.changed() => {}
        }
        (client, server)
    });
    dialler.net.dial(listener.id, &[address], PRODUCT).expect("an address");
    dialler.expect_up().await;
    listener.expect_up().await;
    cut.send(true).expect("the relay runs");
    let _sockets = relaying.await.expect("the relay ends");
    assert_eq!(dialler.expect_down().await, listener.id);
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_the_address() {
    let node = Node::open(2).await;
    let mut config = NetConfig::new([3; 32]);
    config.listen = vec![node.address()];
    let error = Net::start(config, Arc::new(TestGate::new()))
        .await
        .expect_err("in use")
        .to_string();
    assert!(error.contains(&node.address()) && error.contains("in use"), "{error}");
}
