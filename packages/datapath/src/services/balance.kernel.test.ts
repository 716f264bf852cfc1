import { balanceTests } from '../../testing/sockets/balance-tests.ts';
import { World } from '../../testing/world.ts';

balanceTests((name, pods) => new World(name, pods));
