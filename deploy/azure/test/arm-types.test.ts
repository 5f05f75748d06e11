import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { resource } from '../template/resource.ts';

const type = 'Microsoft.Network/natGateways@2025-05-01';
const options = { key: 'nat', name: 'nat' };
const properties = { idleTimeoutInMinutes: 4, publicIpAddresses: [] };

describe('the types of the template', () => {
  it('let a misspelled property, a read-only one, a wrong constant and an unknown type fail to compile', () => {
    const sku = { name: 'Standard' } as const;
    const made = [
      resource(type, options, { location: 'x', sku, properties }),
      // @ts-expect-error -- a misspelled property
      resource(type, options, { location: 'x', sku, properties: { ...properties, idleTimeoutInMinute: 4 } }),
      // @ts-expect-error -- a read-only property
      resource(type, options, { location: 'x', sku, properties: { ...properties, provisioningState: 'Succeeded' } }),
      // @ts-expect-error -- a wrong constant
      resource(type, options, { location: 'x', sku: { name: 'Basic' }, properties }),
      // @ts-expect-error -- a property that is missing
      resource(type, options, { location: 'x', sku }),
      // @ts-expect-error -- a type that the template does not use
      resource('Microsoft.Insights/autoscaleSettings@2022-10-01', options, { location: 'x' }),
    ];
    assert.equal(made.length, 6);
  });
});
