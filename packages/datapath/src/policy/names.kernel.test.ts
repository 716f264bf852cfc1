import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { PolicyRow, PolicyRule, PolicyUpdate } from '@heddle/policy';
import { parseIp } from '@heddle/sys';
import { type DnsRecord, dnsTypes, encodeAnswer, readAnswer } from '../../testing/dns-message.ts';
import { PodWorld } from '../../testing/pod-world.ts';
import { type Path, PolicyStage } from '../../testing/policy-stage.ts';
import { Randomness, randomAnswer } from '../../testing/random-answer.ts';
import { addressKeySize, dnsGrantsCodec } from '../generated/abi.ts';

const policy = 'ClusterNetworkPolicy names';
const names = ['example.com', '*.example.org'];

function rule(number: number, parts: Partial<PolicyRule>): PolicyRule {
  return {
    ...{ policy, tier: 'Admin', direction: 'egress', number, name: '', action: 'allow' },
    ...{ anyPeer: false, ports: undefined, domainNames: [] },
    ...parts,
  };
}

/** The first pod may ask name servers and reach the named hosts only. */
const dnsPorts = [{ protocol: 'UDP', first: 53, last: 53 }] as const;
const rules = [
  rule(0, { anyPeer: true, ports: dnsPorts }),
  rule(1, { domainNames: names }),
  rule(2, { anyPeer: true, action: 'deny' }),
];

const answers = Number(process.env.HEDDLE_DNS_ANSWERS ?? 1000);
const seed = Number(process.env.HEDDLE_DNS_SEED ?? 1);

function covers(pattern: string, name: string): boolean {
  return pattern.startsWith('*.')
    ? name.endsWith(pattern.slice(1)) && name.length > pattern.length - 1
    : name === pattern;
}

/** Returns true for an address, in hexadecimal digits, that hosts of the outside can have. */
function isOutside(address: string): boolean {
  const [first, second] = [0, 2].map((at) => Number.parseInt(address.slice(at, at + 2), 16));
  if (address.length === 8) {
    return first !== 0 && first !== 127 && first! < 224 && !(first === 169 && second === 254);
  }
  return first !== 0 && first !== 0xff && !(first === 0xfe && (second! & 0xc0) === 0x80);
}

/** Returns the 16 bytes of an address, in hexadecimal digits. */
function mapped(address: string): string {
  return address.length === 8 ? `${'0'.repeat(20)}ffff${address}` : address;
}

for (const end of ['v4', 'v6'] as const) {
  describe(`rules that name hosts, ${end}`, () => {
    let world: PodWorld;
    let stage: PolicyStage;
    let programmed: readonly PolicyRule[] = [];
    let host = 1;
    before(() => {
      world = new PodWorld(`names-${end}`, 2, { lab: { nodes: 2, outside: 1 } });
      stage = new PolicyStage(world, end);
      const tables = world.datapath.policy!;
      tables.enable(false, 'none');
      tables.setComplete();
      const { v4, v6 } = world.pod(0).addresses;
      tables.attach({ pod: 'default/client', uid: '' }, [v4, v6]);
    });
    after(() => {
      stage?.[Symbol.dispose]();
      world?.[Symbol.dispose]();
    });

    /** Programs the policy of the first pod in place of the one before. */
    const set = (wanted: readonly PolicyRule[]) => {
      const row: PolicyRow = {
        ...{ key: policy, tier: 'Admin', priority: 0, rules: wanted },
        ...{ isAudited: false, problems: [] },
      };
      const { v4, v6 } = world.pod(0).addresses;
      const update: PolicyUpdate = {
        policies: { upserted: [row], removed: [] },
        rules: { added: wanted, removed: programmed },
        peers: {
          ...{ created: new Map(), gained: new Map(), lost: new Map() },
          ...{ assigned: new Map(), removed: [] },
        },
        subjects: {
          upserted: [
            {
              ...{ pod: 'default/client', uid: '', addresses: [v4, v6], ingress: undefined },
              egress: {
                ...{ direction: 'egress', rules: wanted, isIsolated: false, audited: undefined },
              },
            },
          ],
          removed: [],
        },
      };
      programmed = wanted;
      world.datapath.policy!.take(update);
      world.datapath.policy!.program();
    };

    /** Returns an address of the world that no other test uses. */
    const freshAddress = () =>
      end === 'v4' ? `198.51.100.${host++}` : `2001:db8:5::${(host++).toString(16)}`;

    const record = (name: string, address: string, ttl = 300): DnsRecord => {
      const bytes = parseIp(address)!;
      const data = end === 'v4' ? bytes.subarray(12) : bytes;
      return { name, type: end === 'v4' ? dnsTypes.a : dnsTypes.aaaa, ttl, data };
    };

    /** Has the pod ask a name server, and the answer arrive. */
    const ask = (path: Path, question: string, records: readonly DnsRecord[]) => {
      const connection = stage.connection('udp', path, true);
      const query = stage.run(connection, false, (ip) =>
        ip.udp({ sport: connection.port, dport: 53 }).payload('?'),
      );
      stage.expectPassed(query, connection, 'query');
      const answer = stage.run(connection, true, (ip) =>
        ip
          .udp({ sport: 53, dport: stage.portSeen(connection) })
          .payload(encodeAnswer({ question, records })),
      );
      stage.expectPassed(answer, connection, 'answer');
    };

    /** Returns true if the pod may open a connection to an address. */
    const reaches = (address: string): boolean => {
      const { verdict } = stage.sendTo(0, address);
      return verdict !== 'drop';
    };

    for (const path of [
      'a pod of the node',
      'a pod of another node',
      'the world',
      'the world, masqueraded',
    ] as const) {
      test(`an answer of ${path} opens the addresses of a named host and no others`, () => {
        set(rules);
        world.datapath.policy!.setResolvers([stage.addressOf(path)]);
        const [direct, aliased, other] = [freshAddress(), freshAddress(), freshAddress()];
        assert.deepEqual([direct, aliased, other].map(reaches), [false, false, false]);
        ask(path, 'Example.COM', [record('example.com', direct)]);
        ask(path, 'www.example.org', [
          { name: 'www.example.org', type: dnsTypes.cname, ttl: 60, data: 'edge.example.net' },
          record('edge.example.net', aliased),
          record('elsewhere.example.net', other),
        ]);
        ask(path, 'www.example.com', [record('www.example.com', other)]);
        assert.deepEqual([direct, aliased, other].map(reaches), [true, true, false]);
      });
    }

    test('an answer of a server that is no resolver opens nothing', () => {
      set(rules);
      world.datapath.policy!.setResolvers([stage.addressOf('the world')]);
      const address = freshAddress();
      ask('a pod of the node', 'example.com', [record('example.com', address)]);
      assert.equal(reaches(address), false);
    });

    test('an answer cannot open addresses of the cluster', () => {
      set(rules);
      world.datapath.policy!.setResolvers([stage.addressOf('the world')]);
      const inside = (['a pod of the node', 'the node'] as const).map((each) =>
        stage.addressOf(each),
      );
      const loopback = end === 'v4' ? '127.0.0.1' : '::1';
      for (const address of [...inside, loopback]) {
        ask('the world', 'example.com', [record('example.com', address)]);
      }
      assert.deepEqual(inside.map(reaches), [false, false]);
      const grants = [...stage.policies.map('policy_grants').entries()];
      const keys = grants.map(([key]) => Buffer.from(key).toString('hex'));
      for (const address of [...inside, loopback]) {
        assert.ok(!keys.includes(Buffer.from(parseIp(address)!).toString('hex')), address);
      }
    });

    test('an address of an answer that a pod gets later is not opened by the name', () => {
      set(rules);
      world.datapath.policy!.setResolvers([stage.addressOf('the world')]);
      const address = stage.addressOf('a pod of the node');
      const later = world.of(world.pod(1));
      world.node.enter(() => world.datapath.pods.remove(later.ifindex));
      ask('the world', 'example.com', [record('example.com', address)]);
      assert.ok(stage.policies.map('policy_grants').lookup(parseIp(address)!), 'no pod has it yet');
      world.node.enter(() => world.datapath.pods.set(later));
      // New pods are closed, which would deny the connection, too.
      world.datapath.podTables.setPolicy(later.addresses, { egress: 0, ingress: 0 });
      assert.equal(reaches(address), false);
    });

    test('random answers, in part damaged, open what an independent reader finds in them', () => {
      const patterns = ['example.com', '*.example.com', '*.org', 'x.net', '*.sub.x.net'];
      set([rules[0]!, { ...rules[1]!, domainNames: patterns }, rules[2]!]);
      world.datapath.policy!.setResolvers([stage.addressOf('the world')]);
      const grants = stage.policies.map('policy_grants');
      for (const [key] of grants.entries()) grants.delete(key);
      const random = new Randomness(seed);
      const connection = stage.connection('udp', 'the world', true);
      stage.run(connection, false, (ip) =>
        ip.udp({ sport: connection.port, dport: 53 }).payload('?'),
      );
      let opened = 0;
      for (let n = 0; n < answers; n++) {
        const message = randomAnswer(random);
        stage.run(connection, true, (ip) =>
          ip.udp({ sport: 53, dport: connection.port }).payload(message),
        );
        const read = readAnswer(message);
        const isNamed = read && patterns.some((pattern) => covers(pattern, read.question));
        const expected = isNamed ? [...read.addresses.keys()].filter(isOutside) : [];
        const found = Array.from(grants.entries(), ([key]) => key.slice());
        for (const key of found) grants.delete(key);
        assert.deepEqual(
          found.map((key) => Buffer.from(key).toString('hex')).sort(),
          expected.map(mapped).sort(),
          Buffer.from(message).toString('hex'),
        );
        opened += found.length;
      }
      assert.ok(opened > answers / 4, `${opened} addresses in ${answers} answers`);
    });

    test('an address that has expired opens nothing more, and what is open stays open', () => {
      set(rules);
      world.datapath.policy!.setResolvers([stage.addressOf('the world')]);
      const address = stage.addressOf('the world, masqueraded');
      ask('the world', 'example.com', [record('example.com', address)]);
      const connection = stage.connection('tcp', 'the world, masqueraded', true);
      stage.open(connection);
      const grants = stage.policies.map('policy_grants');
      const key = parseIp(address)!;
      const value = dnsGrantsCodec.decode(grants.lookup(key)!);
      const bytes = new Uint8Array(dnsGrantsCodec.size);
      const expired = value.grants.map((each) => ({ ...each, expires: each.expires && 1 }));
      dnsGrantsCodec.encode({ grants: expired }, bytes);
      grants.update(key, bytes);
      assert.equal(reaches(address), false);
      // The policy is written anew, so that the connection is judged again.
      set([...rules]);
      stage.expectPassed(stage.more(connection), connection, 'data');
      assert.equal(key.length, addressKeySize);
    });

    test('a rule that is removed closes the addresses of its names, also those of open connections', () => {
      set(rules);
      world.datapath.policy!.setResolvers([stage.addressOf('the world')]);
      const address = stage.addressOf('the world, masqueraded');
      ask('the world', 'example.com', [record('example.com', address)]);
      const connection = stage.connection('tcp', 'the world, masqueraded', true);
      stage.open(connection);
      const [dns, , deny] = rules;
      set([dns!, { ...rules[1]!, domainNames: ['*.example.org'] }, deny!]);
      assert.equal(reaches(address), false);
      stage.expectDenied(stage.more(connection), 'data');
    });
  });
}
