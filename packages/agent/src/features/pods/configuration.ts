// The network configuration list of CNI, which names the plug-ins that the container runtime calls.

/** The name of the CNI plug-in's file, by which the configuration names it. */
export const pluginName = 'heddle-cni';

/** The capability by which containerd passes the annotations of a pod in `runtimeConfig`; CRI-O does not. */
export const annotationsCapability = 'io.kubernetes.cri.pod-annotations';

type Fields = Readonly<Record<string, unknown>>;

/**
 * Returns the text of the configuration list, or undefined when `existing`, the text of the present one, says the
 * same. Plug-ins that others have chained after Heddle's stay, and so do fields of the list that Heddle does not
 * set.
 */
export function configurationText(
  socket: string,
  existing: string | undefined,
): string | undefined {
  const present = existing === undefined ? undefined : parseFields(existing);
  const plugins = Array.isArray(present?.plugins) ? (present.plugins as unknown[]) : [];
  const wanted = {
    ...present,
    // Runtimes with libcni before 1.2 read the first field, later ones take the highest version of the second
    // that they know.
    ...{ cniVersion: '1.0.0', cniVersions: ['1.0.0', '1.1.0'], name: 'heddle' },
    plugins: [
      { type: pluginName, socket, capabilities: { [annotationsCapability]: true } },
      ...plugins.filter((plugin) => isFields(plugin) && plugin.type !== pluginName),
    ],
  };
  if (present !== undefined && sorted(present) === sorted(wanted)) return undefined;
  return `${JSON.stringify(wanted, undefined, 2)}\n`;
}

/** Returns the fields of an object as JSON, or undefined for anything else. */
function parseFields(text: string): Fields | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isFields(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Returns JSON in which the fields of objects are in the order of their names. */
function sorted(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    isFields(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
