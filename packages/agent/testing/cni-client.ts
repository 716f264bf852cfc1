import {
  checked,
  closeFd,
  decodeUtf8,
  encodeUtf8,
  errno,
  type Platform,
  syscallNumbers,
} from '@heddle/sys';
import {
  AF_UNIX,
  encodeUnixSockaddr,
  MSG_NOSIGNAL,
  SHUT_WR,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
} from '@heddle/sys/net';

const SCM_RIGHTS = 1;

/** A call of a container runtime. */
export interface CniTestCall {
  /** The environment; names have the prefix `CNI_` already. */
  readonly environment: Readonly<Record<string, string>>;
  /** The network configuration, as an object or as it is. */
  readonly input: object | string;
  /** A descriptor of the network namespace. */
  readonly descriptor?: number;
}

export interface CniTestAnswer {
  readonly isSuccess: boolean;
  /** The printed JSON; undefined, whatever its type says, if nothing is printed. */
  readonly output: CniTestOutput;
}

/** A result of ADD, or an error. */
export interface CniTestOutput {
  readonly cniVersion: string;
  readonly code: number;
  readonly msg: string;
  readonly ips: readonly { readonly address: string }[];
  readonly routes: readonly unknown[];
}

/** Calls the CNI socket of an agent, as the plug-in does. */
export async function callCni(
  platform: Platform,
  path: string,
  { environment, input, descriptor }: CniTestCall,
): Promise<CniTestAnswer> {
  const entries = Object.entries(environment).map(([name, value]) => `${name}=${value}\0`);
  const text = typeof input === 'string' ? input : JSON.stringify(input);
  return parse(
    await exchange(platform, path, encodeUtf8(`${entries.join('')}\0${text}`), descriptor),
  );
}

function parse(answer: Uint8Array): CniTestAnswer {
  const text = decodeUtf8(answer);
  if (!/^[012]/.test(text)) throw new Error(`the CNI socket answers ${JSON.stringify(text)}`);
  const output = text.slice(1);
  return { isSuccess: text[0] === '0', output: output === '' ? undefined : JSON.parse(output) };
}

/** Sends bytes, with a descriptor beside the first one, ends the request and returns the answer. */
export function exchange(
  platform: Platform,
  path: string,
  bytes: Uint8Array,
  descriptor?: number,
): Promise<Uint8Array> {
  const nr = syscallNumbers(platform);
  const flags = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
  const fd = checked('socket', platform.syscall(nr.socket, AF_UNIX, flags, 0));
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = [];
    let watch: Disposable | undefined;
    const end = (settle: () => void) => {
      watch?.[Symbol.dispose]();
      closeFd(platform, fd);
      settle();
    };
    try {
      const address = encodeUnixSockaddr(path);
      checked('connect', platform.syscall(nr.connect, fd, address, address.length));
      send(platform, fd, bytes, descriptor);
      checked('shutdown', platform.syscall(nr.shutdown, fd, SHUT_WR));
    } catch (error) {
      end(() => reject(error));
      return;
    }
    watch = platform.onReadable(fd, () => {
      const chunk = new Uint8Array(65536);
      const got = platform.syscall(nr.read, fd, chunk, chunk.length);
      if (got === -errno.EAGAIN) return;
      if (got > 0) chunks.push(chunk.slice(0, got));
      else if (got === 0) end(() => resolve(new Uint8Array(Buffer.concat(chunks))));
      else end(() => reject(new Error(`read CNI answer: ${got}`)));
    });
  });
}

function send(platform: Platform, fd: number, bytes: Uint8Array, descriptor?: number): void {
  const nr = syscallNumbers(platform);
  let sent = 0;
  if (descriptor !== undefined && bytes.length > 0) {
    // struct cmsghdr {length u64, level s32, type s32}, the descriptor, padding.
    const control = new Uint8Array(24);
    const controlView = new DataView(control.buffer);
    controlView.setBigUint64(0, 20n, true);
    controlView.setInt32(8, SOL_SOCKET, true);
    controlView.setInt32(12, SCM_RIGHTS, true);
    controlView.setInt32(16, descriptor, true);
    // struct msghdr and a struct iovec.
    const message = new Uint8Array(72);
    const view = new DataView(message.buffer);
    view.setBigUint64(16, platform.addressOf(message) + 56n, true);
    view.setBigUint64(24, 1n, true);
    view.setBigUint64(32, platform.addressOf(control), true);
    view.setBigUint64(40, 24n, true);
    view.setBigUint64(56, platform.addressOf(bytes), true);
    view.setBigUint64(64, 1n, true);
    sent = checked('sendmsg', platform.syscall(nr.sendmsg, fd, message, MSG_NOSIGNAL));
  }
  while (sent < bytes.length) {
    const rest = bytes.subarray(sent);
    sent += checked(
      'sendto',
      platform.syscall(nr.sendto, fd, rest, rest.length, MSG_NOSIGNAL, 0, 0),
    );
  }
}
