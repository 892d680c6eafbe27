// Swagger UI over the hub's own document. `validatorUrl: null`: nothing is sent to a third party.
window.SwaggerUIBundle({ url: '/openapi.json', dom_id: '#docs', deepLinking: true, validatorUrl: null });
