import {
  defaultText,
  isGroup,
  type Setting,
  type SettingTable,
  sentencesOf,
  settings,
  settingsOf,
} from '@heddle/agent/settings';
import { deploymentSettings } from './settings.ts';
import { goJson } from './yaml.ts';

/** Returns docs/settings.md: all settings with their flags, defaults and meaning. */
export function settingsDocument(table: SettingTable = settings): string {
  const agent = settingsOf(table).map((setting) => [
    code(setting.name),
    setting.flag === undefined ? '' : code(setting.flag),
    setting.inChart === false ? 'no' : 'yes',
    shownDefault(setting),
    meaning(setting),
  ]);
  const deployment = settingsOf(deploymentSettings).map((setting) => [
    code(setting.name),
    shownDefault(setting),
    meaning(setting),
  ]);
  const groups = Object.entries(table).flatMap(([name, entry]) =>
    isGroup(entry) ? [`- ${code(name)}: ${entry.about}\n`] : [],
  );
  return `# Settings

\`node tools/settings.ts\` makes this page from the table of settings
(\`packages/agent/src/settings/table.ts\`) and those of the deployment
(\`packages/deploy/src/settings.ts\`).

## The agent

Each setting is a field of the file for \`heddle agent --config\`, some are flags of \`heddle agent\`,
and those with "yes" are values of the Helm chart and settings of \`heddle manifests --set\`, under the
same name. Some are fields of a mapping:

${groups.join('')}
${markdownTable(['setting', 'flag', 'chart', 'default', 'meaning'], agent)}
## The deployment

These are values of the Helm chart and settings of \`heddle manifests --set\` only.

${markdownTable(['setting', 'default', 'meaning'], deployment)}`;
}

function meaning(setting: Setting): string {
  const { enum: choices } = setting.schema;
  const sentences = sentencesOf(setting);
  return choices ? `${sentences} One of ${choices.map(code).join(', ')}.` : sentences;
}

function shownDefault(setting: Setting): string {
  const { fallback, fallbackText } = setting;
  if (fallbackText !== undefined) return fallbackText;
  if (Array.isArray(fallback) && fallback.length === 0) return defaultText(setting);
  return code(typeof fallback === 'object' ? goJson(fallback) : defaultText(setting));
}

function code(text: string): string {
  return `\`${text}\``;
}

function markdownTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`;
  return [line(header), `${'|---'.repeat(header.length)}|\n`, ...rows.map(line)].join('');
}
