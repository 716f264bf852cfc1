import { balanceTests } from '../../testing/sockets/balance-tests.ts';
import { VmWorld } from '../../testing/vm-world.ts';

// Runs the tests of the kernel in the userspace machine, without root.
balanceTests((name, pods) => new VmWorld(name, pods));
