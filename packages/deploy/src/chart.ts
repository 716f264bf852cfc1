import { isGroup, type SettingTable, sentencesOf } from '@heddle/agent/settings';
import { deploymentObjects } from './objects.ts';
import { relayObjects } from './relay-objects.ts';
import { allSettings, schemaOf, type Values } from './settings.ts';
import { ChartValue, writeYaml, type Yaml } from './yaml.ts';

const notice =
  '# Made by `node tools/settings.ts` from the settings and objects of packages/deploy.\n';

/** The longest line of a comment in values.yaml. */
const lineWidth = 98;

/** Returns the files of the Helm chart by their path in its folder. */
export function chartFiles(version: string, table?: SettingTable): ReadonlyMap<string, string> {
  const shown = Object.entries(allSettings(version, table)).filter(
    ([, entry]) => isGroup(entry) || entry.inChart !== false,
  );
  const files = new Map([
    ['Chart.yaml', notice + writeYaml(about(version))],
    ['values.yaml', notice + shown.map(([name, entry]) => `\n${valueText(name, entry)}`).join('')],
    ['values.schema.json', `${JSON.stringify(valuesSchema(shown), null, 2)}\n`],
  ]);
  for (const object of deploymentObjects(placesOf(shown), table)) {
    files.set(`templates/${object.kind.toLowerCase()}.yaml`, notice + writeYaml(object));
  }
  const relay = relayObjects(placesOf(shown)).map(writeYaml).join('---\n');
  files.set(
    'templates/relay.yaml',
    `${notice}{{- if .Values.relayTLSSecret }}\n${relay}{{- end }}\n`,
  );
  return files;
}

type Entry = [name: string, entry: SettingTable[string]];

/** Returns the template expression of each value. */
function placesOf(entries: readonly Entry[]): Values {
  const place = (path: string) => new ChartValue(`.Values.${path}`);
  const places = entries.map(([name, entry]) => [
    name,
    isGroup(entry)
      ? Object.fromEntries(
          Object.keys(entry.fields).map((field) => [field, place(`${name}.${field}`)]),
        )
      : place(name),
  ]);
  return { ...Object.fromEntries(places), namespace: new ChartValue('.Release.Namespace') };
}

function about(version: string) {
  return {
    apiVersion: 'v2',
    name: 'heddle',
    description: 'Kubernetes services, load-balanced in the kernel',
    type: 'application',
    version,
    appVersion: version,
    // discovery.k8s.io/v1
    kubeVersion: '>=1.21.0-0',
  };
}

/** Returns the lines of values.yaml for a setting, with what it sets as a comment. */
function valueText(name: string, entry: SettingTable[string]): string {
  if (!isGroup(entry)) {
    const { fallback, fallbackText } = entry;
    // A null here would not match the schema.
    const value =
      fallback === undefined
        ? comment(`${name}: ${fallbackText}`)
        : writeYaml({ [name]: fallback as Yaml });
    return `${comment(sentencesOf(entry))}${value}`;
  }
  const fields = Object.entries(entry.fields).map(([field, setting]) =>
    `${comment(sentencesOf(setting), lineWidth - 2)}${writeYaml({ [field]: setting.fallback as Yaml })}`.replace(
      /^(?=.)/gm,
      '  ',
    ),
  );
  return `${comment(entry.about)}${name}:\n${fields.join('')}`;
}

function comment(text: string, width = lineWidth): string {
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1)!;
    if (line !== '' && line.length + word.length + 3 > width) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines.map((line) => `# ${line}\n`).join('');
}

function valuesSchema(entries: readonly Entry[]) {
  const properties = entries.map(([name, entry]) => {
    const { description, ...rest } = schemaOf(entry);
    const sentences = isGroup(entry) ? entry.about : sentencesOf(entry);
    return [name, { ...rest, description: `${sentences} (${description})` }];
  });
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    type: 'object',
    // Helm adds `global` to the values of a chart that another chart depends on.
    properties: { ...Object.fromEntries(properties), global: { type: 'object' } },
    additionalProperties: false,
  };
}
