use super::*;
use slotmesh_base::Rng;
use slotmesh_base::limits::SIBLING_LINK_BYTES_MAX;
use slotmesh_cluster::Manners;
use slotmesh_cluster::machine::ReplicaRules;
use slotmesh_io::{Backend, mesh, run_core};

/// The bus of shard 0 of two.
fn bus(folder: &std::path::Path, now: Now) -> Bus {
    let settings = Settings {
        node_timeout_ms: 15_000,
        host: None,
        port: 1000,
        other_port: 0,
        bus_port: 2000,
        hostname: None,
        nodename: None,
        requires_full_coverage: true,
        manners: Manners::default(),
        replicas: ReplicaRules::default(),
        shard: 0,
        shards: 2,
    };
    let cluster = Cluster::new(settings, Rng::new(1));
    let (file, _) = NodesFile::open(&folder.join("nodes.conf"), 0).unwrap();
    Bus::new(
        BusStart { cluster, file, listeners: Vec::new(), is_empty_handed: false, role: None },
        0,
        now,
        Arc::new(Log::nowhere()),
    )
    .unwrap()
}

#[test]
fn a_sibling_that_does_not_keep_up_loses_its_link() {
    let folder = std::env::temp_dir().join(format!("slotmesh-bus-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut mails = mesh::<Parcel>(2);
    let (_theirs, ours) = (mails.pop().unwrap(), mails.pop().unwrap());
    let inside = folder.clone();
    run_core(Backend::Epoll, ours, |mut io| async move {
        let now = Now { monotonic: Monotonic(1), unix: UnixMillis(1) };
        let mut bus = bus(&inside, now);
        let their_link = LinkId::accepted(7);
        bus.take_mail(1, SiblingMail::Open(their_link));
        let is_open = |bus: &Bus| bus.links.of_sibling(1, SiblingLink::OfSender(their_link)).is_some();
        // The other one does not read.
        let mut said = 0;
        while is_open(&bus) {
            let end = SiblingLink::OfReceiver(their_link);
            bus.outbox.frame(1, end, vec![0; SIBLING_LINK_BYTES_MAX / 4]);
            bus.drive(&mut io);
            said += 1;
            assert!(said < 200, "what waits has no bound");
        }
        let info = bus.machine.get_mut().cluster.info_text();
        assert!(info.contains("total_cluster_links_buffer_limit_exceeded:1\r\n"), "{info}");
        // It shall be told, once it reads.
        assert!(bus.waits());
        // What is being written wants its folder.
        while bus.disk.is_busy() {
            bus.disk.take_written();
        }
    })
    .unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
}
