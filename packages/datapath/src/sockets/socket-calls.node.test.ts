import { socketCallTests } from '../../testing/sockets/socket-call-tests.ts';
import { tcpCallTests } from '../../testing/sockets/socket-tcp-call-tests.ts';
import { VmWorld } from '../../testing/vm-world.ts';

// Runs the tests of the kernel in the userspace machine, without root.
socketCallTests((name, pods) => new VmWorld(name, pods));
tcpCallTests((name, pods) => new VmWorld(name, pods), false);
