import { familyOf } from './addresses.ts';
import { FieldError, readAddress } from './field-values.ts';
import { compactList, ownText, sharedText } from './memory.ts';
import type { ReadResult } from './object-reader.ts';
import type { EndpointRecord, SliceRecord } from './records.ts';
import { type SliceObject, serviceNameLabel, triggerAnnotation } from './schema.ts';

const none: readonly string[] = [];

/** Returns the record of an EndpointSlice. Throws FieldError. */
export function readSlice(slice: SliceObject): ReadResult<SliceRecord> {
  const { metadata, addressType } = slice;
  const namespace = sharedText(metadata.namespace ?? 'default');
  const label = `EndpointSlice ${namespace}/${metadata.name}`;
  if (addressType === 'FQDN') {
    return { kind: 'ignored', note: `${label} is not used: its addressType is FQDN` };
  }
  const service = metadata.labels?.[serviceNameLabel];
  if (!service) {
    return { kind: 'ignored', note: `${label} is not used: it has no label ${serviceNameLabel}` };
  }
  const ports = (slice.ports ?? [])
    // A port without a number means all ports, which no service can use.
    .flatMap(({ name, protocol, port }) =>
      port ? [{ name: sharedText(name), protocol: sharedText(protocol), port }] : [],
    );
  const endpoints = (slice.endpoints ?? []).map((endpoint, i): EndpointRecord => {
    const field = `endpoints[${i}].addresses[0]`;
    // Only the first address counts; the API has a list for historical reasons.
    const address = readAddress(field, endpoint.addresses[0]!, 'ordinary');
    if (familyOf(address) !== addressType) {
      throw new FieldError(
        field,
        address,
        `must be an ${addressType} address, because addressType is ${addressType}`,
      );
    }
    const { conditions, hints } = endpoint;
    return {
      address,
      ready: conditions?.ready ?? true,
      serving: conditions?.serving ?? true,
      terminating: conditions?.terminating ?? false,
      nodeName: sharedText(endpoint.nodeName),
      target: ownText(endpoint.targetRef?.name ?? ''),
      zoneHints: readHints(hints?.forZones),
      nodeHints: readHints(hints?.forNodes),
    };
  });
  const record: SliceRecord = {
    kind: 'slice',
    namespace,
    name: ownText(metadata.name),
    service: ownText(service),
    family: sharedText(addressType),
    ports: compactList(ports),
    endpoints: compactList(endpoints),
  };
  // Only a metric uses it, so a malformed time does not make the slice invalid.
  const triggeredMs = Date.parse(metadata.annotations?.[triggerAnnotation] ?? '');
  return Number.isNaN(triggeredMs)
    ? { kind: 'record', record }
    : { kind: 'record', record, triggeredMs };
}

function readHints(hints: readonly { name: string }[] | null | undefined): readonly string[] {
  return hints && hints.length > 0 ? hints.map(({ name }) => sharedText(name)) : none;
}
