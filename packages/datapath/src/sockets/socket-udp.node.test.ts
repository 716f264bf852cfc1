import { udpTests } from '../../testing/sockets/socket-udp-tests.ts';
import { VmWorld } from '../../testing/vm-world.ts';

// In the userspace machine: what the kernel tests say, without root.
udpTests((name, pods) => new VmWorld(name, pods));
