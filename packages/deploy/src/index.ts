export { chartFiles } from './chart.ts';
export { deploymentObjects } from './objects.ts';
export { readSettings, settings } from './settings.ts';
export { goJson, writeYaml } from './yaml.ts';
