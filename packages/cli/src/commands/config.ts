import { type NamedSetting, sentencesOf, settings, settingsOf } from '@heddle/agent/settings';
import { openControl } from '@heddle/inspect/open';
import { formatFacts, formatTable, printJson } from '../print.ts';
import type { ReadOptions } from '../read-options.ts';

interface Options extends ReadOptions {
  readonly fields?: true;
}

/**
 * `heddle config`: prints the agent's configuration with defaults; `--fields` lists the settings.
 */
export async function config({ output, fields, ...source }: Options): Promise<void> {
  if (fields) {
    const all = settingsOf(settings).map(fieldOf);
    if (output === 'json') printJson({ fields: all });
    else {
      const rows = all.map(({ name, fallback, about }) => [name, `${fallback ?? '-'}`, about]);
      process.stdout.write(formatTable(['FIELD', 'DEFAULT', 'MEANING'], rows));
    }
    return;
  }
  using client = await openControl(source);
  const value = (await client.request('config.get')) as Record<string, unknown>;
  if (output === 'json') printJson(value);
  else process.stdout.write(formatFacts(flat(value)));
}

/**
 * Returns a setting as `--fields` prints it. A default that depends on the node is part of the
 * text.
 */
function fieldOf(setting: NamedSetting) {
  const { name, fallback, fallbackText } = setting;
  const about = sentencesOf(setting);
  if (fallbackText !== undefined) return { name, about: `${about} Default: ${fallbackText}.` };
  return Array.isArray(fallback) ? { name, about } : { name, about, fallback };
}

/** Returns the fields with dotted names, as `--fields` lists them. */
function flat(value: Record<string, unknown>, prefix = ''): [string, string][] {
  return Object.entries(value).flatMap(([name, inner]): [string, string][] =>
    typeof inner === 'object' && inner !== null
      ? flat(inner as Record<string, unknown>, `${prefix}${name}.`)
      : [[`${prefix}${name}`, `${inner}`]],
  );
}
