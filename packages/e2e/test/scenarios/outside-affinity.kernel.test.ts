import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LabHost, LabPod } from '@heddle/lab';
import type { SocketAddress } from '@heddle/sys/net';
import { answers, ends, Front, namesOf, type Protocol, protocols } from '../../testing/front.ts';

const tries = 25;
const sticky = (timeoutSeconds: number) => ({
  sessionAffinity: 'ClientIP',
  sessionAffinityConfig: { clientIP: { timeoutSeconds } },
});

describe('session affinity of clients outside', () => {
  let front: Front;
  before(async () => {
    front = await Front.open('outside-affinity');
  });
  after(() => front?.[Symbol.dispose]());

  for (const externalTrafficPolicy of ['Cluster', 'Local']) {
    describe(`with externalTrafficPolicy ${externalTrafficPolicy}`, () => {
      /** Of those that may be chosen, the pods. */
      const pods = (): LabPod[] =>
        externalTrafficPolicy === 'Local'
          ? [...front.here]
          : [front.here[0]!, front.here[1]!, front.there[0]!, front.there[1]!];
      const name = (what: string) => `${what}-${externalTrafficPolicy.toLowerCase()}`;
      const expose = (what: string) => {
        const web = front.expose(name(what));
        const write = (spec: object, members: readonly LabPod[] = pods()) =>
          web.write(members, { spec: { externalTrafficPolicy, ...spec } });
        const waysIn = ends.flatMap((end) =>
          protocols.flatMap((protocol) =>
            web
              .waysIn(end, protocol === 'TCP' ? 'tcp' : 'udp')
              .map(({ way, to }) => ({ protocol, to, message: `${way}, ${protocol}, IP${end}` })),
          ),
        );
        return { web, write, waysIn };
      };
      const chosen = (
        from: LabHost,
        protocol: Protocol,
        to: SocketAddress,
        message: string,
      ): string => {
        const [pod, ...others] = answers(from, protocol, to, tries);
        assert.deepEqual(others, [], message);
        assert.match(pod!, /^pod-/, message);
        return pod!;
      };

      test('a client keeps its pod, whatever port it comes from and whichever way', async () => {
        const { web, write, waysIn } = expose('kept');
        await write(sticky(10_800));
        for (const from of [front.client, front.other]) {
          for (const { protocol, to, message } of waysIn) {
            const pod = chosen(from, protocol, to, message);
            assert.equal(chosen(from, protocol, to, message), pod, message);
          }
        }
        await web.remove();
      });

      test('it is switched on and off while it runs', async () => {
        const { web, write, waysIn } = expose('switched');
        for (const spec of [
          { sessionAffinity: 'None' },
          sticky(10_800),
          { sessionAffinity: 'None' },
        ]) {
          await write(spec);
          for (const { protocol, to, message } of waysIn) {
            if (spec.sessionAffinity === 'None') {
              // 40 tries miss one of four once in 25,000 times.
              assert.deepEqual(
                answers(front.client, protocol, to, 50),
                namesOf(...pods()),
                message,
              );
            } else {
              chosen(front.client, protocol, to, message);
            }
          }
        }
        await web.remove();
      });

      test('it outlives a new endpoint, and moves when its own is gone', async () => {
        const { web, write, waysIn } = expose('moving');
        const all = pods();
        await write(sticky(10_800), all.slice(0, 2));
        for (const { protocol, to, message } of waysIn) {
          await write(sticky(10_800), all.slice(0, 2));
          const first = chosen(front.client, protocol, to, message);
          await write(sticky(10_800), all);
          assert.equal(chosen(front.client, protocol, to, message), first, message);
          const rest = all.filter((pod) => pod.name !== first);
          await write(sticky(10_800), rest);
          assert.notEqual(chosen(front.client, protocol, to, message), first, message);
        }
        await web.remove();
      });

      test('it ends when its time is over', async () => {
        const { web, write, waysIn } = expose('timed');
        await write(sticky(1));
        const seen = waysIn.map(() => new Set<string>());
        // Each pause frees all choices; 20 of them without another of three pods: once in a billion.
        for (let i = 0; i < 20 && seen.some(({ size }) => size < 2); i++) {
          for (const [j, { protocol, to, message }] of waysIn.entries()) {
            const [pod, ...others] = answers(front.client, protocol, to, 5);
            assert.deepEqual(others, [], `${message}: within its time it holds`);
            seen[j]!.add(pod!);
          }
          await sleep(1100);
        }
        for (const [j, { message }] of waysIn.entries()) assert.ok(seen[j]!.size > 1, message);
        await web.remove();
      });
    });
  }
});
