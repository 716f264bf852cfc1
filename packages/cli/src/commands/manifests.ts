import { sentencesOf, settingsOf } from '@heddle/agent/settings';
import { version } from '@heddle/assets';
import { allSettings, deploymentObjects, goJson, readSettings, writeYaml } from '@heddle/deploy';
import { formatTable, printJson } from '../print.ts';

interface Options {
  readonly set?: readonly string[];
  readonly output: 'yaml' | 'json';
  readonly fields?: true;
}

/**
 * `heddle manifests`: prints the objects that a cluster needs to run Heddle, for `kubectl apply -f
 * -`.
 */
export function manifests({ set = [], output, fields }: Options): void {
  if (fields) {
    printFields(output);
    return;
  }
  const items = deploymentObjects(readSettings(set, version()));
  if (output === 'json') printJson({ apiVersion: 'v1', kind: 'List', items });
  else process.stdout.write(items.map(writeYaml).join('---\n'));
}

function printFields(output: Options['output']): void {
  const all = settingsOf(allSettings(version())).map((setting) => ({
    ...{ name: setting.name, fallback: setting.fallback, about: sentencesOf(setting) },
  }));
  if (output === 'json') {
    printJson({ fields: all });
    return;
  }
  const shown = (value: unknown) => (typeof value === 'string' ? value : goJson(value));
  const rows = all.map(({ name, fallback, about }) => [name, shown(fallback), about]);
  process.stdout.write(formatTable(['SETTING', 'DEFAULT', 'MEANING'], rows));
}
