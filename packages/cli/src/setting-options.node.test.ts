import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readTable } from '@heddle/agent/config';
import { choice, count, group, settings } from '@heddle/agent/settings';
import { chartFiles, deploymentObjects, readSettings, settingsDocument } from '@heddle/deploy';
import { Command } from 'commander';
import { addSettings } from './setting-options.ts';

/** A table of settings with an additional entry, and an additional one in a group. */
const table = {
  ...settings,
  flowExport: choice(['off', 'sampled', 'all'], {
    about: 'flows that are exported',
    more: 'sampled exports one in a hundred.',
    fallback: 'off',
    flag: '--flow-export <which>',
  }),
  sizes: group(settings.sizes.about, {
    ...settings.sizes.fields,
    policies: count(1000, {
      about: 'rules of policies',
      fallback: 100,
      flag: '--max-policies <n>',
    }),
  }),
};

function flags(...args: string[]) {
  const command = new Command('agent').exitOverride();
  const flagsOf = addSettings(command, table);
  return flagsOf(command.parse(args, { from: 'user' }).opts());
}

describe('an entry that is added to the table of settings', () => {
  test('an entry added to the table of settings is a flag of the agent, with its default in the help', () => {
    const command = new Command('agent');
    addSettings(command, table);
    const help = command.helpInformation().replace(/\s+/g, ' ');
    assert.ok(
      help.includes(
        '--flow-export <which> flows that are exported: off, sampled, all (default: off)',
      ),
      help,
    );
    assert.equal(flags('--flow-export', 'all').flowExport, 'all');
    assert.equal(flags('--max-policies', '7')['sizes.policies'], 7);
  });

  test('an entry added to the table of settings is a field of the configuration, which a flag overrides', () => {
    const file = { path: 'agent.yaml', text: 'flowExport: sampled\nsizes: { policies: 9 }' };
    assert.equal(readTable(table, undefined, {}).flowExport, 'off');
    const config = readTable(table, file, {});
    assert.deepEqual([config.flowExport, config.sizes.policies], ['sampled', 9]);
    assert.equal(readTable(table, file, flags('--flow-export', 'all')).flowExport, 'all');
    assert.throws(
      () => readTable(table, { ...file, text: 'flowExport: some' }, {}),
      /^ConfigError: read config agent\.yaml: flowExport is "some"; write off, sampled or all$/,
    );
  });

  test('an entry added to the table of settings is a value of the Helm chart, with its schema', () => {
    const files = chartFiles('1.2.3', table);
    assert.match(
      files.get('values.yaml')!,
      /^# Flows that are exported\. sampled exports one in a hundred\.\nflowExport: "off"$/m,
    );
    assert.match(files.get('values.yaml')!, /^ {2}# Rules of policies\.\n {2}policies: 100$/m);
    const { properties } = JSON.parse(files.get('values.schema.json')!);
    assert.deepEqual(properties.flowExport.enum, ['off', 'sampled', 'all']);
    assert.equal(properties.sizes.properties.policies.maximum, 1000);
    const configMap = files.get('templates/configmap.yaml')!;
    assert.ok(configMap.includes('\n    flowExport: {{ .Values.flowExport | toJson }}\n'));
    assert.ok(configMap.includes('\n      policies: {{ .Values.sizes.policies | toJson }}\n'));
  });

  test('an entry added to the table of settings is a setting of the manifests', () => {
    const values = readSettings(['flowExport=all', 'sizes.policies=5'], '1.2.3', table);
    const objects = deploymentObjects(values, table);
    const { data } = objects.find(({ kind }) => kind === 'ConfigMap') as unknown as {
      data: { 'agent.yaml': string };
    };
    const config = readTable(table, { path: 'agent.yaml', text: data['agent.yaml'] }, {});
    assert.deepEqual([config.flowExport, config.sizes.policies], ['all', 5]);
  });

  test('an entry added to the table of settings is a line of docs/settings.md', () => {
    assert.ok(
      settingsDocument(table).includes(
        '\n| `flowExport` | `--flow-export <which>` | yes | `off` | Flows that are exported. sampled exports one in a hundred. One of `off`, `sampled`, `all`. |\n',
      ),
    );
  });
});

test('a list takes commas, and a flag that is given again adds to it', () => {
  const { apiServers } = flags('--api-server', 'https://a, https://b', '--api-server', 'https://c');
  assert.deepEqual(apiServers, ['https://a', 'https://b', 'https://c']);
});
