import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { KubeconfigError } from './errors.ts';
import { mergeKubeconfigs, parseKubeconfig } from './kubeconfig-file.ts';

test('absent, null and empty fields of a kubeconfig are absent', () => {
  for (const text of [
    '',
    '# nothing',
    '{}',
    'apiVersion: v1\nkind: Config\nclusters: null\nusers:\ncontexts: []\ncurrent-context: ""\n',
  ]) {
    const config = parseKubeconfig(text, 'f');
    assert.deepEqual(config, { clusters: new Map(), users: new Map(), contexts: new Map() });
  }
  const { users, clusters } = parseKubeconfig(
    '{users: [{name: a}, {name: b, user: {token: ""}}], clusters: [{name: c, cluster: {server: null}}]}',
    'f',
  );
  assert.equal(users.get('a')!.entry.token, undefined);
  assert.equal(users.get('b')!.entry.token, undefined);
  assert.equal(clusters.get('c')!.entry.server, undefined);
  assert.equal(clusters.get('c')!.entry['insecure-skip-tls-verify'], false);
});

test('the first of several entries with the same name is used', () => {
  const first = parseKubeconfig(
    '{users: [{name: u, user: {token: a}}, {name: u, user: {token: b}}], contexts: [{name: x, context: {user: u}}]}',
    'first',
  );
  const second = parseKubeconfig(
    '{users: [{name: u, user: {token: c}}, {name: v, user: {token: d}}], current-context: x}',
    'second',
  );
  const third = parseKubeconfig('{current-context: y}', 'third');
  const merged = mergeKubeconfigs([first, second, third]);
  assert.equal(merged.currentContext, 'x');
  const tokens = [...merged.users].map(([name, { file, entry }]) => [name, file, entry.token]);
  assert.deepEqual(tokens, [
    ['u', 'first', 'a'],
    ['v', 'second', 'd'],
  ]);
  assert.equal(merged.contexts.get('x')!.entry.user, 'u');
});

test('an error of a kubeconfig has the place and no secrets', () => {
  for (const [text, problem] of [
    ['a: b: secret', /^read kubeconfig \/f: line 1 is no YAML \(/],
    ['users:\n- name: x\n  user: {token: [secret}', /line 3 is no YAML/],
    ['[secret]', /it is no kubeconfig$/],
    ['secret', /it is no kubeconfig$/],
    ['users: [{name: x, user: {token: 5123}}]', /users\.0\.user\.token must be text$/],
    ['users: secret', /users must be Array$/],
    ['clusters: [{name: x}]', /clusters\.0\.cluster must be/],
    [
      'clusters: [{name: x, cluster: {insecure-skip-tls-verify: "secret"}}]',
      /insecure-skip-tls-verify must be boolean$/,
    ],
    ['a: &a [*a, *a]', /./],
  ] as const) {
    try {
      parseKubeconfig(text, '/f');
    } catch (error) {
      assert.ok(error instanceof KubeconfigError, String(error));
      assert.match(error.message, problem);
      assert.doesNotMatch(error.message, /secret|5123/);
      continue;
    }
    assert.equal(text, 'a: &a [*a, *a]', 'only fields that are not read are skipped');
  }
});

test('a kubeconfig with multiplying aliases is refused', () => {
  let text = 'a0: &a0 [x, x, x, x, x, x, x, x, x]\n';
  for (let i = 1; i < 12; i++) {
    text += `a${i}: &a${i} [${Array(9)
      .fill(`*a${i - 1}`)
      .join(', ')}]\n`;
  }
  assert.throws(() => parseKubeconfig(text, 'f'), /its YAML aliases cannot be followed/);
});

test('any text is a kubeconfig or a typed error', () => {
  const pieces = fc.constantFrom(
    'users:',
    'clusters:',
    '\n',
    ' ',
    '- ',
    'name: a',
    '{',
    '}',
    '&a ',
    '*a',
    '"',
    ': ',
    'cluster:',
    '\t',
    'null',
    '!!x ',
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(pieces, { maxLength: 30 }).map((all) => all.join('')),
      ),
      (text) => {
        try {
          parseKubeconfig(text, 'f');
        } catch (error) {
          assert.ok(error instanceof KubeconfigError, String(error));
        }
      },
    ),
    { numRuns: 300 },
  );
});
