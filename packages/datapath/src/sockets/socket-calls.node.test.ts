import { socketCallTests } from '../../testing/sockets/socket-call-tests.ts';
import { tcpCallTests } from '../../testing/sockets/socket-tcp-call-tests.ts';
import { VmWorld } from '../../testing/vm-world.ts';

// In the userspace machine: what the kernel tests say, without root.
socketCallTests((name, pods) => new VmWorld(name, pods));
tcpCallTests((name, pods) => new VmWorld(name, pods), false);
