import type { ConfigFlags } from '@heddle/agent/config';
import {
  defaultText,
  type NamedSetting,
  type SettingTable,
  settingsOf,
} from '@heddle/agent/settings';
import { type Command, InvalidArgumentError, Option } from 'commander';

/**
 * Adds the flags of a table of settings to a command. Returns a function that picks their values out
 * of the command's options, by the names of the settings.
 */
export function addSettings(
  command: Command,
  table: SettingTable,
): (options: Readonly<Record<string, unknown>>) => ConfigFlags {
  const flags = settingsOf(table).flatMap((setting) =>
    setting.flag === undefined
      ? []
      : [{ name: setting.name, option: optionOf(setting, setting.flag) }],
  );
  for (const { option } of flags) command.addOption(option);
  return (options) =>
    Object.fromEntries(
      flags.map(({ name, option }) => [name, options[option.attributeName()]]),
    ) as ConfigFlags;
}

function optionOf(setting: NamedSetting, flag: string): Option {
  const { about, schema } = setting;
  const choices = schema.enum === undefined ? '' : `: ${schema.enum.join(', ')}`;
  const fallback = schema.type === 'boolean' ? '' : ` (default: ${defaultText(setting)})`;
  const option = new Option(flag, `${about}${choices}${fallback}`);
  if (schema.type === 'integer') option.argParser(wholeNumber);
  if (schema.type === 'array') option.argParser(listed);
  return option;
}

/** Reads a list with commas between; a flag that is given again adds to it. */
function listed(text: string, before: readonly string[] = []): string[] {
  const items = text === '' ? [] : text.split(',').map((each) => each.trim());
  return [...before, ...items];
}

/** Reads a whole number. Throws InvalidArgumentError. */
export function wholeNumber(text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}
