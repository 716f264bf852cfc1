import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LabHost, LabPod } from '@heddle/lab';
import type { SocketAddress } from '@heddle/sys/net';
import {
  answers,
  ExternalLab,
  ipVersions,
  namesOf,
  type Protocol,
  protocols,
} from '../../testing/external-lab.ts';

const tries = 25;
const sticky = (timeoutSeconds: number) => ({
  sessionAffinity: 'ClientIP',
  sessionAffinityConfig: { clientIP: { timeoutSeconds } },
});

describe('session affinity of external clients', () => {
  let setup: ExternalLab;
  before(async () => {
    setup = await ExternalLab.open('outside-affinity');
  });
  after(() => setup?.[Symbol.dispose]());

  for (const externalTrafficPolicy of ['Cluster', 'Local']) {
    describe(`with externalTrafficPolicy ${externalTrafficPolicy}`, () => {
      /** Returns the pods that may be chosen. */
      const pods = (): LabPod[] =>
        externalTrafficPolicy === 'Local'
          ? [...setup.here]
          : [setup.here[0]!, setup.here[1]!, setup.there[0]!, setup.there[1]!];
      const name = (what: string) => `${what}-${externalTrafficPolicy.toLowerCase()}`;
      const expose = (what: string) => {
        const web = setup.expose(name(what));
        const write = (spec: object, members: readonly LabPod[] = pods()) =>
          web.write(members, { spec: { externalTrafficPolicy, ...spec } });
        const externalPaths = ipVersions.flatMap((end) =>
          protocols.flatMap((protocol) =>
            web
              .externalPaths(end, protocol === 'TCP' ? 'tcp' : 'udp')
              .map(({ path, to }) => ({ protocol, to, message: `${path}, ${protocol}, IP${end}` })),
          ),
        );
        return { web, write, externalPaths };
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

      test('a client keeps its pod from any source port and at any address of the service', async () => {
        const { web, write, externalPaths } = expose('kept');
        await write(sticky(10_800));
        for (const from of [setup.client, setup.other]) {
          for (const { protocol, to, message } of externalPaths) {
            const pod = chosen(from, protocol, to, message);
            assert.equal(chosen(from, protocol, to, message), pod, message);
          }
        }
        await web.remove();
      });

      test('affinity can be switched on and off at runtime', async () => {
        const { web, write, externalPaths } = expose('switched');
        for (const spec of [
          { sessionAffinity: 'None' },
          sticky(10_800),
          { sessionAffinity: 'None' },
        ]) {
          await write(spec);
          for (const { protocol, to, message } of externalPaths) {
            if (spec.sessionAffinity === 'None') {
              // 40 tries miss one of four pods once in 25,000 runs.
              assert.deepEqual(
                answers(setup.client, protocol, to, 50),
                namesOf(...pods()),
                message,
              );
            } else {
              chosen(setup.client, protocol, to, message);
            }
          }
        }
        await web.remove();
      });

      test('affinity stays when an endpoint is added, and moves when its own is removed', async () => {
        const { web, write, externalPaths } = expose('moving');
        const all = pods();
        await write(sticky(10_800), all.slice(0, 2));
        for (const { protocol, to, message } of externalPaths) {
          await write(sticky(10_800), all.slice(0, 2));
          const first = chosen(setup.client, protocol, to, message);
          await write(sticky(10_800), all);
          assert.equal(chosen(setup.client, protocol, to, message), first, message);
          const rest = all.filter((pod) => pod.name !== first);
          await write(sticky(10_800), rest);
          assert.notEqual(chosen(setup.client, protocol, to, message), first, message);
        }
        await web.remove();
      });

      test('affinity ends after its timeout', async () => {
        const { web, write, externalPaths } = expose('timed');
        await write(sticky(1));
        const seen = externalPaths.map(() => new Set<string>());
        // Each pause frees all choices; 20 pauses without another of three pods happen once in a
        // billion runs.
        for (let i = 0; i < 20 && seen.some(({ size }) => size < 2); i++) {
          for (const [j, { protocol, to, message }] of externalPaths.entries()) {
            const [pod, ...others] = answers(setup.client, protocol, to, 5);
            assert.deepEqual(others, [], `${message}: within its time it holds`);
            seen[j]!.add(pod!);
          }
          await sleep(1100);
        }
        for (const [j, { message }] of externalPaths.entries())
          assert.ok(seen[j]!.size > 1, message);
        await web.remove();
      });
    });
  }
});
