import { balanceTests } from '../../testing/sockets/balance-tests.ts';
import { VmWorld } from '../../testing/vm-world.ts';

// In the userspace machine: what the kernel tests say, without root.
balanceTests((name, pods) => new VmWorld(name, pods));
