// An application with Node.js sockets. It reads requests as JSON lines from stdin and writes a line
// with the replies to stdout for each (see ClientRequest and ClientReply in client.ts).
import { createSocket, type Socket as Datagrams } from 'node:dgram';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import type { ClientReply, ClientRequest } from './client.ts';

const timeoutMs = 1000;
const sockets = new Map<string, Datagrams>();
/** Errors that sockets reported between requests: an application then connects again. */
const pendingErrors = new Map<string, Error>();

createInterface({ input: process.stdin }).on('line', async (line) => {
  const request = JSON.parse(line) as ClientRequest;
  const answered = await answer(request);
  process.stdout.write(`${JSON.stringify(answered)}\n`);
});

async function answer({
  method,
  host,
  port,
  socket,
  count,
  bytes,
}: ClientRequest): Promise<ClientReply[]> {
  const answers: ClientReply[] = [];
  for (let i = 0; i < count; i++) {
    if (method === 'tcp') answers.push(await overTcp(host, port, bytes));
    else if (method === 'bind') answers.push(await bind(host, port));
    else if (method === 'connected') answers.push(await overConnected(socket, host, port));
    else answers.push(await overUnconnected(socket, host, port, bytes));
  }
  return answers;
}

function overTcp(host: string, port: number, bytes: number): Promise<ClientReply> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: timeoutMs });
    let from = '';
    let pod = '';
    let left = bytes;
    socket.on('connect', () => {
      from = `${socket.remoteAddress} ${socket.remotePort}`;
      socket.write('x'.repeat(bytes));
    });
    socket.on('data', (data) => {
      pod ||= podOf(data);
      // Each part is echoed after the backend's name, which has no x.
      for (const byte of Buffer.from(data)) if (byte === 0x78) left--;
      if (left > 0) return;
      resolve({ pod: left === 0 ? pod : `${-left} bytes too many`, from });
      socket.resetAndDestroy();
    });
    socket.on('timeout', () => {
      resolve({ pod: 'timeout', from });
      socket.destroy();
    });
    socket.on('error', (error) => resolve(failed(error)));
  });
}

function bind(host: string, port: number): Promise<ClientReply> {
  return new Promise((resolve) => {
    const server = createServer();
    server.on('error', (error) => resolve(failed(error)));
    server.listen(port, host, () => server.close(() => resolve({ pod: 'bound', from: '' })));
  });
}

/** Exchanges datagrams on a named socket, which is connected at its first use. */
async function overConnected(name: string, host: string, port: number): Promise<ClientReply> {
  try {
    const error = pendingErrors.get(name);
    pendingErrors.delete(name);
    if (error) throw error;
    let socket = sockets.get(name);
    if (!socket) {
      const opened = open(name, host);
      await new Promise<void>((resolve, reject) => {
        opened.connect(port, host, (failure?: Error) => (failure ? reject(failure) : resolve()));
      });
      socket = opened;
    }
    const connected = socket;
    return await exchange(connected, (sent) => connected.send('x', sent));
  } catch (error) {
    close(name);
    return failed(error as Error);
  }
}

async function overUnconnected(
  name: string,
  host: string,
  port: number,
  bytes: number,
): Promise<ClientReply> {
  const socket = sockets.get(name) ?? open(name, host);
  try {
    const text = 'x'.repeat(bytes);
    return await exchange(socket, (sent) => socket.send(text, port, host, sent), bytes);
  } catch (error) {
    return failed(error as Error);
  } finally {
    if (name === '') close(name);
  }
}

function open(name: string, host: string): Datagrams {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  sockets.set(name, socket);
  socket.on('error', (error) => {
    if (socket.listenerCount('error') > 1) return;
    pendingErrors.set(name, error);
    close(name);
  });
  return socket;
}

function close(name: string): void {
  sockets.get(name)?.close();
  sockets.delete(name);
}

function exchange(
  socket: Datagrams,
  send: (sent: (error: Error | null) => void) => void,
  bytes = 1,
): Promise<ClientReply> {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      socket.off('message', onMessage);
      socket.off('error', onError);
    };
    const onMessage = (data: Uint8Array, from: { address: string; port: number }) => {
      end();
      const pod = podOf(data);
      const got = data.length - pod.length - 1;
      const whole = got === bytes ? pod : `${got} of ${bytes} bytes`;
      resolve({ pod: whole, from: `${from.address} ${from.port}` });
    };
    const onError = (error: Error) => {
      end();
      reject(error);
    };
    const timer = setTimeout(() => {
      end();
      resolve({ pod: 'timeout', from: '' });
    }, timeoutMs);
    socket.on('message', onMessage);
    socket.on('error', onError);
    send((error) => {
      if (error) onError(error);
    });
  });
}

function failed(error: Error): ClientReply {
  return { pod: (error as NodeJS.ErrnoException).code ?? error.message, from: '' };
}

/** Returns the name in a backend's reply, which the echoed data follow. */
function podOf(data: Uint8Array | string): string {
  return Buffer.from(data).toString().split(' ')[0]!;
}
