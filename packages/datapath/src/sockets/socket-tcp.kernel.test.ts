import { tcpTests } from '../../testing/sockets/socket-tcp-tests.ts';
import { World } from '../../testing/world.ts';

tcpTests((name, pods) => new World(name, pods));
