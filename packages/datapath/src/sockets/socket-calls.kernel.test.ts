import { socketCallTests } from '../../testing/sockets/socket-call-tests.ts';
import { tcpCallTests } from '../../testing/sockets/socket-tcp-call-tests.ts';
import { World } from '../../testing/world.ts';

socketCallTests((name, pods) => new World(name, pods));
tcpCallTests((name, pods) => new World(name, pods), true);
