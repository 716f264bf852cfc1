import { udpTests } from '../../testing/sockets/socket-udp-tests.ts';
import { World } from '../../testing/world.ts';

udpTests((name, pods) => new World(name, pods));
