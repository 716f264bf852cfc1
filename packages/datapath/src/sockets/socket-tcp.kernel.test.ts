import { tcpTests } from '../../testing/socket-tcp-tests.ts';
import { World } from '../../testing/world.ts';

tcpTests((name, pods) => new World(name, pods));
