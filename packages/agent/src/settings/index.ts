export { type Fault, findFault, type Schema } from './schema.ts';
export {
  choice,
  count,
  defaultsOf,
  defaultText,
  type Group,
  group,
  isGroup,
  type NamedSetting,
  type Setting,
  type SettingTable,
  sentencesOf,
  settingsOf,
  type ValuesOf,
} from './setting.ts';
export { type Config, type MapSizes, settings } from './table.ts';
