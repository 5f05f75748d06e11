/** The security group of a subnet as rules of nftables, for a machine in a network namespace of its own. */
import type { ExpandedResource } from '../expand/expand-template.ts';
import { isObject, textOf, type Json } from '../expand/functions.ts';

export type SourceSets = {
  /** Addresses that Azure's tag `AzureLoadBalancer` stands for. */
  loadBalancer: readonly string[];
  /** The virtual network: everything outside is the internet. */
  network: string;
};

type Rule = { priority: number; access: string; protocol: string; source: string; ports: string };

function rulesOf({ body }: ExpandedResource): Rule[] {
  const properties = body['properties'];
  const list = isObject(properties) ? properties['securityRules'] : [];
  const text = (value: Json | undefined): string => (value === undefined ? '' : textOf(value));
  return (Array.isArray(list) ? list : [])
    .flatMap((rule) => (isObject(rule) && isObject(rule['properties']) ? [rule['properties']] : []))
    .map((rule) => ({
      priority: Number(rule['priority']),
      access: text(rule['access']),
      protocol: text(rule['protocol']).toLowerCase(),
      source: text(rule['sourceAddressPrefix']),
      ports: text(rule['destinationPortRange']),
    }))
    .toSorted((one, other) => one.priority - other.priority);
}

/** A ruleset for `nft -f`. Answers to what the machine itself began come in, as with Azure. */
export function nftRules(group: ExpandedResource, sources: SourceSets): string {
  const lines = rulesOf(group).flatMap((rule) => nftRule(rule, sources).map((line) => `    ${line}`));
  return [
    'flush ruleset',
    'table inet azure {',
    '  chain input {',
    '    type filter hook input priority 0; policy accept;',
    '    iif lo accept',
    '    ct state established,related accept',
    // Neighbours must find each other whatever the rules say.
    '    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept',
    ...lines,
    '  }',
    '}',
    '',
  ].join('\n');
}

function nftRule({ access, protocol, source, ports }: Rule, { loadBalancer, network }: SourceSets): string[] {
  const parts: string[] = [];
  if (source === 'Internet') {
    parts.push(`ip saddr != ${network}`);
  } else if (source === 'AzureLoadBalancer') {
    parts.push(`ip saddr { ${loadBalancer.join(', ')} }`);
  } else if (source !== '*') {
    parts.push(`ip saddr ${source}`);
  }
  if (protocol !== '*') {
    parts.push(`${protocol} dport ${ports}`);
  }
  const match = parts.join(' ');
  // Refused rather than dropped, so that who tries learns it at once.
  return access === 'Allow'
    ? [`${match} accept`]
    : [`${match} meta l4proto tcp reject with tcp reset`, `${match} reject`].map((line) => line.trim());
}
