import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';
import fc from 'fast-check';
import type { RuleRef } from '../contract.ts';
import {
  compileFilter,
  type FilterSubject,
  firstError,
  globMatch,
  isOfFlows,
  nearest,
  parseFilter,
  replaceWord,
  splitWords,
  withoutWord,
  withWord,
  wordText,
} from './index.ts';

const now = Date.UTC(2026, 0, 2);
const rule: RuleRef = {
  policy: { kind: 'NetworkPolicy', namespace: 'payments', name: 'ledger-ingress' },
  ...{ rule: 2, direction: 'ingress', relation: 'denied' },
};

/** Returns a dropped flow from shop/checkout to payments/ledger with these properties. */
function subject(properties: Partial<FilterSubject> = {}): FilterSubject {
  return {
    from: {
      ...{ namespace: 'shop', name: 'checkout', kind: 'Deployment', pod: 'checkout-5d-x1' },
      ...{ address: '10.0.1.7', labels: ['k8s:app=checkout', 'k8s:tier=web'] },
    },
    to: {
      ...{ namespace: 'payments', name: 'ledger', kind: 'Deployment', pod: 'ledger-77-a2' },
      ...{ address: 'fd00::9', labels: ['k8s:app=ledger'] },
    },
    ...{ service: 'payments/ledger-api', protocol: 6, port: 8443, verdict: 'dropped' },
    ...{ reason: 133, rules: [rule], firstSeen: now - 600_000 },
    flow: { direction: 'ingress', flags: 0x02, node: 'eu/rack1-a' },
    ...properties,
  };
}

const outside: Partial<FilterSubject> = {
  to: {
    ...{ namespace: '', name: 'api.example.org', kind: 'Outside', address: '192.0.2.7' },
    hosts: ['api.example.org'],
  },
  ...{ verdict: 'forwarded', reason: 0, rules: [], service: '' },
  flow: {
    ...{ direction: 'egress', flags: 0x12, node: 'rack1-b', dns: 'API.example.org.' },
    http: { path: '/v1/pay', method: 'POST', code: 503 },
  },
};

const matching: readonly (readonly [string, Partial<FilterSubject>?])[] = [
  [''],
  ['ns:shop'],
  ['ns:payments'],
  ['ns:sh*p'],
  ['from-ns:shop to-ns:payments'],
  ['ns:other ns:shop'],
  ['-ns:other'],
  ['with:ledger'],
  ['from:checkout*'],
  ['from:shop/checkout'],
  ['from:shop/checkout-5d-x1'],
  ['to:payments/'],
  ['from:10.0.0.0/16'],
  ['to:FD00:0::9'],
  ['fd00::/64'],
  ['to:outside', outside],
  ['to:*.example.org', outside],
  ['to:192.0.2.7', outside],
  ['svc:payments/ledger-api'],
  ['svc:ledger*'],
  ['label:app=ledger'],
  ['label:"tier in (web, api)"'],
  ['port:8443'],
  ['port:8000-8999'],
  ['proto:tcp'],
  ['proto:dns', outside],
  ['proto:http', outside],
  ['verdict:dropped'],
  ['verdict:forwarded', outside],
  ['reason:policy-denied'],
  ['reason:POLICY_DENIED'],
  ['reason:133'],
  ['policy:payments/ledger-ingress'],
  ['policy:any'],
  ['policy:none', outside],
  ['rule:payments/ledger-ingress#ingress/2'],
  ['dir:ingress'],
  ['flags:syn'],
  ['flags:syn-ack', outside],
  ['dns:api.*', outside],
  ['path:/v1/*', outside],
  ['code:5xx', outside],
  ['code:503', outside],
  ['method:post', outside],
  ['node:rack1-a'],
  ['node:eu/*'],
  ['new:1h'],
  ['CheckOut ledger'],
  ['shop/check'],
  ['example.org', outside],
];
const refusing: readonly (readonly [string, Partial<FilterSubject>?])[] = [
  ['ns:payment'],
  ['-ns:shop'],
  ['ns:shop -with:ledger'],
  ['from:payments/ledger'],
  ['from:shop/'.replace('shop', 'payments')],
  ['to:10.0.0.0/16'],
  ['from:host'],
  ['to:node'],
  ['svc:payments/ledger'],
  ['label:app=cart'],
  ['port:443'],
  ['port:dns'],
  ['proto:udp'],
  ['proto:dns'],
  ['verdict:refused'],
  ['reason:no-endpoint'],
  ['reason:133', { verdict: 'forwarded' }],
  ['policy:none'],
  ['policy:any', outside],
  ['policy:any', { rules: [{ ...rule, relation: 'nearest' }] }],
  ['rule:payments/ledger-ingress#egress/2'],
  ['dir:egress'],
  ['flags:rst'],
  ['flags:syn', { protocol: 17 }],
  ['code:4xx', outside],
  ['node:rack1'],
  ['new:5m'],
  ['checkout cart'],
  ['dir:ingress', { flow: undefined as never }],
];

describe('a filter lets a flow through', () => {
  for (const [text, properties] of matching) {
    it(text, () => {
      assert.equal(firstError(parseFilter(text)), -1);
      assert.equal(compileFilter(parseFilter(text), now)(subject(properties)), true);
    });
  }
});

describe('a filter keeps a flow out', () => {
  for (const [text, properties] of refusing) {
    it(`${text} ${properties ? JSON.stringify(properties).slice(0, 40) : ''}`, () => {
      assert.equal(firstError(parseFilter(text)), -1);
      assert.equal(compileFilter(parseFilter(text), now)(subject(properties)), false);
    });
  }
});

const wrong: readonly (readonly [string, RegExp, string?])[] = [
  ['port:http', /^port wants a number/, 'svc:http'],
  ['-port:http', /^port wants a number/, '-svc:http'],
  ['port:70000', /^port wants/],
  ['port:9-8', /^port wants/],
  ['nsx:shop', /^There is no key "nsx"/, 'ns:shop'],
  ['verdict:droped', /^verdict wants one of/, 'verdict:dropped'],
  ['reason:no-endpoints', /^reason wants/, 'reason:no-endpoint'],
  ['label:(', /^label wants/],
  ['rule:shop/x', /^rule wants/, 'policy:shop/x'],
  ['new:soon', /^new wants a time/],
  ['flags:foo', /^flags wants/],
  ['code:999', /^code wants/],
  ['ns:', /^ns wants the namespace/],
  ['ns:"a b', /^The closing quotation mark/],
  ['fd:1::2', /^There is no key "fd"/, 'with:fd:1::2'],
  [`ns:${'a'.repeat(5000)}`, /^A filter has at most 4000/],
];

describe('a word that cannot be used has an error', () => {
  for (const [text, message, suggestion] of wrong) {
    it(text.slice(0, 40), () => {
      const filter = parseFilter(text);
      assert.equal(firstError(filter), 0);
      assert.match(filter.words[0]!.error!.text, message);
      assert.equal(filter.words[0]!.error!.suggestion, suggestion);
      if (suggestion) assert.equal(firstError(parseFilter(suggestion)), -1);
    });
  }
});

test('words have their places, and a wrong word leaves the others as they are', () => {
  const filter = parseFilter('  ns:shop port:x  -"a b" ');
  assert.deepEqual(
    filter.words.map(({ start, end, text }) => [start, end, text]),
    [
      [2, 9, 'ns:shop'],
      [10, 16, 'port:x'],
      [18, 24, '-"a b"'],
    ],
  );
  assert.equal(firstError(filter), 1);
  assert.equal(compileFilter(filter, now)(subject()), true);
  assert.equal(compileFilter(filter, now)(subject(outside)), true);
  assert.equal(compileFilter(parseFilter('ns:none port:x'), now)(subject()), false);
});

test('every text is split into words that cover all that is not blank', () => {
  const text = fc.string({ unit: fc.constantFrom(...'ab:-"\\ \t*/é') });
  fc.assert(
    fc.property(text, (written) => {
      const words = splitWords(written);
      let rest = written;
      for (const { start, end, text: own } of [...words].reverse()) {
        assert.equal(written.slice(start, end), own);
        rest = rest.slice(0, start) + rest.slice(end);
      }
      assert.equal(rest.trim(), '');
      compileFilter(parseFilter(written), now)(subject());
    }),
  );
});

test('a value that is written as a word is read as the same value', () => {
  fc.assert(
    fc.property(fc.constantFrom('', 'ns', 'from'), fc.string({ minLength: 1 }), (key, value) => {
      const [word, ...others] = splitWords(wordText(key, value));
      assert.deepEqual(
        [word?.key, word?.value, word?.isExcluded, word?.isClosed, others.length],
        [key, value, false, true, 0],
      );
    }),
  );
});

test('words are added once, removed and replaced', () => {
  assert.equal(withWord('', 'ns:a'), 'ns:a');
  assert.equal(withWord('ns:a port:1', 'ns:a'), 'ns:a port:1');
  assert.equal(withWord(' ns:a ', '-ns:b'), 'ns:a -ns:b');
  assert.equal(withoutWord('ns:a port:1  x', 1), 'ns:a x');
  assert.equal(replaceWord('nsx:a x', 0, 'ns:a'), 'ns:a x');
});

test('only words about what links do not have need single flows', () => {
  for (const text of ['dir:ingress', 'from:10.0.0.1', '10.0.0.0/8', 'proto:dns', '-node:a']) {
    assert.equal(isOfFlows(parseFilter(text)), true, text);
  }
  for (const text of ['ns:a port:1', 'proto:tcp', 'from:a/b', 'dir:wrong', 'x']) {
    assert.equal(isOfFlows(parseFilter(text)), false, text);
  }
});

test('a pattern matches as a regular expression does', () => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', '*'), maxLength: 8 });
  fc.assert(
    fc.property(letters, letters, (pattern, text) => {
      const plain = text.replaceAll('*', '');
      const expression = new RegExp(`^${pattern.replaceAll('*', '.*')}$`);
      assert.equal(globMatch(pattern)(plain), expression.test(plain));
    }),
  );
});

test('the nearest name is found, and none if all are far', () => {
  assert.equal(nearest('shpo', ['web', 'shop', 'ship']), 'shop');
  assert.equal(nearest('zzzz', ['web', 'shop']), undefined);
});
