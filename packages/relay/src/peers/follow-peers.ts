import type { PeerNode } from '@heddle/hubble';
import { pause } from '@heddle/hubble';
import { type ChangeNotification, ChangeNotificationType } from '@heddle/hubble/messages';
import { BackOff, messageOf } from './back-off.ts';
import { peersMax } from './pool.ts';
import { openClients, type PeerTlsFiles, type Target } from './transport.ts';

/** The changes of one answer arrive within this time; the list is passed on after it, in milliseconds. */
const settleMs = 200;

/**
 * Follows the Peer service of an observer until `signal` aborts, and passes on the whole list after each change. When
 * the service is not reached, the list stays as it is; it is read anew afterwards. `onProblem` gets each problem
 * once, and the empty text when it is over.
 */
export async function followPeers(
  target: Target,
  tls: PeerTlsFiles | undefined,
  onPeers: (peers: readonly PeerNode[]) => void,
  onProblem: (problem: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const backOff = new BackOff();
  let problem = '';
  const report = (text: string) => {
    if (text === problem) return;
    problem = text;
    onProblem(text);
  };
  while (!signal.aborted) {
    const peers = new Map<string, PeerNode>();
    let [clients, timer] = [
      undefined as ReturnType<typeof openClients> | undefined,
      undefined as NodeJS.Timeout | undefined,
    ];
    try {
      clients = openClients(target, tls);
      for await (const change of clients.peer.notify({}, { signal })) {
        apply(peers, change);
        backOff.reset();
        report('');
        timer ??= setTimeout(() => {
          timer = undefined;
          onPeers([...peers.values()]);
        }, settleMs);
      }
      throw new Error('the stream has ended');
    } catch (error) {
      const why = messageOf(error);
      if (!signal.aborted) report(why);
    } finally {
      clearTimeout(timer);
      clients?.close();
    }
    await pause(backOff.next(), signal);
  }
}

/** Names and addresses of nodes have no control characters and are shorter; a name has that of the cluster before it. */
const usable = /^\P{Cc}{1,512}$/u;

/** Applies a change to a list of peers. Peers beyond the limit, and those without a usable name, are left out. */
export function apply(peers: Map<string, PeerNode>, change: ChangeNotification): void {
  const { name, address, type, tls } = change;
  if (!usable.test(name)) return;
  if (type === ChangeNotificationType.PEER_DELETED) {
    peers.delete(name);
  } else if (usable.test(address) && (peers.has(name) || peers.size < peersMax)) {
    peers.set(name, { name, address, tlsServerName: tls?.serverName });
  }
}
