// A backend that sends its name. Arguments: --name NAME, and any number of --http PORT, --tcp PORT,
// --echo PORT and --udp PORT, for IPv4 and IPv6. It writes the line {"ready":true} to stdout when all
// ports are open.
//
// HTTP: GET / answers {"pod":NAME,"port":PORT}; GET /client adds "client":"ADDRESS:PORT", the
// client as the backend sees it; GET /name answers NAME alone. TCP and UDP: the answer is NAME, a
// space and the received bytes. Echo: TCP, the answer is the received bytes.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { parseArgs } from 'node:util';
import { formatEndpoint } from '@heddle/sys';

const { values } = parseArgs({
  options: {
    name: { type: 'string' },
    http: { type: 'string', multiple: true, default: [] },
    tcp: { type: 'string', multiple: true, default: [] },
    echo: { type: 'string', multiple: true, default: [] },
    udp: { type: 'string', multiple: true, default: [] },
  },
});
const name = values.name ?? '';

// Async, so that a port out of range is a rejection as well.
const listen = async (server: Server, port: string) => {
  const listening = once(server, 'listening');
  server.listen({ host: '::', port: Number(port), backlog: 4096 });
  await listening;
};
const opened = [
  ...values.http.map((port) =>
    listen(createServer({ noDelay: true }, serveHttp(Number(port))), port),
  ),
  ...values.tcp.map((port) => listen(createServer({ noDelay: true }, serveEcho), port)),
  ...values.echo.map((port) => listen(createServer({ noDelay: true }, serveBytes), port)),
  ...values.udp.map(serveUdp),
];
try {
  await Promise.all(opened);
} catch (error) {
  process.stderr.write(`serve ${name}: ${(error as Error).message}\n`);
  process.exit(1);
}
process.stdout.write(`${JSON.stringify({ ready: true })}\n`);

// Without node:http, so that a backend costs little beside what is measured. Requests have no body, so
// each one ends with its header.
function serveHttp(port: number): (socket: Socket) => void {
  const usual = { '/': JSON.stringify({ pod: name, port }), '/name': name };
  return (socket) => {
    let pending = '';
    socket.setEncoding('latin1');
    socket.on('error', () => socket.destroy());
    socket.on('data', (text: string) => {
      pending += text;
      for (let end = pending.indexOf('\r\n\r\n'); end >= 0; end = pending.indexOf('\r\n\r\n')) {
        const request = pending.slice(0, end);
        pending = pending.slice(end + 4);
        const path = request.split(' ', 2)[1] ?? '';
        const body =
          path === '/client'
            ? JSON.stringify({ pod: name, port, client: clientOf(socket) })
            : usual[path as keyof typeof usual];
        const close = / HTTP\/1\.0(\r|$)/.test(request) || /\r\nconnection: *close/i.test(request);
        const answer = response(body, close);
        if (close) {
          socket.end(answer);
          return;
        }
        socket.write(answer);
      }
      // No client sends a header of that size; an endless one must not be kept.
      if (pending.length > 65536) socket.destroy();
    });
  };
}

function response(body: string | undefined, close: boolean): string {
  const status = body === undefined ? '404 Not Found' : '200 OK';
  const content = body ?? '';
  return (
    `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\n` +
    `Content-Length: ${Buffer.byteLength(content)}\r\n` +
    `Connection: ${close ? 'close' : 'keep-alive'}\r\n\r\n${content}`
  );
}

function clientOf(socket: Socket): string {
  return formatEndpoint(plain(socket.remoteAddress ?? ''), socket.remotePort ?? 0);
}

/** Returns the address of a client; a socket of both families shows IPv4 as `::ffff:a.b.c.d`. */
function plain(address: string): string {
  return address.startsWith('::ffff:') ? address.slice(7) : address;
}

function serveEcho(socket: Socket): void {
  socket.on('error', () => socket.destroy());
  socket.on('data', (data: Buffer) => socket.write(Buffer.concat([Buffer.from(`${name} `), data])));
}

function serveBytes(socket: Socket): void {
  socket.on('error', () => socket.destroy());
  socket.pipe(socket);
}

async function serveUdp(port: string): Promise<void> {
  const socket = createSocket('udp6');
  socket.on('message', (data, from) => {
    socket.send(Buffer.concat([Buffer.from(`${name} `), data]), from.port, from.address);
  });
  const listening = once(socket, 'listening');
  socket.bind({ address: '::', port: Number(port) });
  await listening;
  // Later errors, e.g. of a client that is gone, do not matter.
  socket.on('error', () => {});
}
