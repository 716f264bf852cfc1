import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { findFault } from '@heddle/agent/settings';
import { version } from '@heddle/assets';
import { parse, parseAllDocuments } from 'yaml';
import { deploymentObjects } from './objects.ts';
import { readSettings, type Values } from './settings.ts';
import { goJson, writeYaml } from './yaml.ts';

const folder = fileURLToPath(new URL('../../../deploy/helm/heddle', import.meta.url));
const file = (path: string) => readFileSync(`${folder}/${path}`, 'utf8');

/**
 * Renders a template as Helm does. Templates contain only `{{ .Values.x | toJson }}`, and
 * `{{- if .Values.x }}` with `{{- end }}`.
 */
function render(template: string, root: object): string {
  const valueAt = (path: string) => {
    const names = path.slice(1).split('.');
    return names.reduce<unknown>((at, name) => (at as Record<string, unknown>)[name], root);
  };
  // The inner conditions first.
  const condition = /\s*\{\{- if ((?:\.\w+)+) \}\}((?:(?!\{\{- if ).)*?)\s*\{\{- end \}\}/gs;
  const decide = (text: string): string => {
    const kept = text.replace(condition, (_, path: string, body: string) =>
      valueAt(path) ? body : '',
    );
    return kept === text ? kept : decide(kept);
  };
  const kept = decide(template);
  const text = kept.replace(/\{\{ ((?:\.\w+)+) \| toJson \}\}/g, (_, path: string) => {
    const value = valueAt(path);
    assert.notEqual(value, undefined, path);
    return goJson(value);
  });
  assert.doesNotMatch(text, /\{\{/);
  return text;
}

function rendered({ namespace, ...values }: Values): unknown[] {
  const root = { Values: values, Release: { Namespace: namespace } };
  return readdirSync(`${folder}/templates`).flatMap((name) =>
    parseAllDocuments(render(file(`templates/${name}`), root))
      .map((document) => document.toJS())
      .filter((object) => object !== null),
  );
}

/** Returns objects by kind and name, because Helm orders them in its own way. */
const byName = (objects: readonly unknown[]) =>
  new Map(
    (objects as { kind: string; metadata: { name: string } }[]).map((object) => [
      `${object.kind} ${object.metadata.name}`,
      object,
    ]),
  );

describe('the chart renders the objects that `heddle manifests` prints', () => {
  for (const assignments of [
    [],
    ['image=registry.example/net/heddle:2.0', 'namespace=network', 'logLevel=debug'],
    [
      'apiServers=https://192.0.2.10:6443,https://[fd00::10]:6443/a?b=<c>&d',
      'cgroup=/sys/fs/cgroup/unified',
    ],
    ['nodeSelector=pool=edge,kubernetes.io/arch=arm64', 'tolerations=[]', 'sizes.slots=4294967295'],
    ['nodeSelector=', 'resources={}', 'updateStrategy={"type":"OnDelete"}', 'healthPort=1'],
    [
      'tolerations=[{"key":"a","operator":"Exists","effect":"NoSchedule"}]',
      'metricsAddress=:10249',
    ],
    ['network=true', 'podMTU=1400', 'cni.binDir=/usr/libexec/cni'],
    ['visibility=true'],
    ['visibility=true', 'observerTLSSecret=hubble-server-certs', 'observerResources={}'],
    ['observerTLSSecret=hubble-server-certs'],
    ['visibility=true', 'observerTLSSecret=a', 'relayTLSSecret=b', 'relayResources={}'],
  ]) {
    test(assignments.join(' ') || 'with the defaults', () => {
      const wanted = readSettings(assignments, version());
      const printed = deploymentObjects(wanted).map((object) => parse(writeYaml(object)));
      assert.equal(printed.length, wanted.relayTLSSecret === '' ? 5 : 9);
      assert.deepEqual(byName(rendered(wanted)), byName(printed));
    });
  }
});

test('values.yaml holds the defaults, and values.schema.json allows them', () => {
  const { namespace, ...settings } = readSettings([], version());
  const defaults = Object.fromEntries(
    Object.entries(settings).filter(([, value]) => value !== undefined),
  );
  const values = parse(file('values.yaml'));
  assert.deepEqual(values, defaults);
  const schema = JSON.parse(file('values.schema.json'));
  assert.equal(findFault(values, schema), undefined);
  assert.deepEqual(findFault({ ...values, logLevel: 'loud' }, schema)?.path, 'logLevel');
  assert.deepEqual(findFault({ ...values, imag: 'x' }, schema)?.cause, 'there is no field imag');
  assert.ok(namespace !== undefined && !('namespace' in schema.properties));
});

test('the chart has the version of the command', () => {
  const chart = parse(file('Chart.yaml'));
  assert.deepEqual([chart.version, chart.appVersion], [version(), version()]);
});
