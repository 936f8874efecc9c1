use super::*;

#[test]
fn every_operation_has_exactly_one_route() {
    for operation in Operation::ALL {
        assert_eq!(ROUTES.iter().filter(|r| r.operation == Some(operation)).count(), 1, "{}", operation.name());
    }
}

#[test]
fn every_route_tells_the_statuses_of_its_access_limiter_and_body() {
    for route in ROUTES {
        let all = route.statuses();
        let has = |status: u16| all.contains(&status);
        assert!(all.is_sorted() && all.windows(2).all(|pair| pair[0] != pair[1]), "{}", route.path);
        assert!(has(route.success) && route.also.iter().all(|status| has(*status)), "{}", route.path);
        let open = matches!(route.access, Access::Public | Access::SignedUrl);
        assert_eq!(has(401), !open, "{}", route.path);
        assert_eq!(has(403), route.access != Access::Public, "{}", route.path);
        assert_eq!(has(429), route.limiter != Limiter::None, "{}", route.path);
        assert_eq!(has(413), route.is_mutation(), "{}", route.path);
        assert!(has(404) || !route.path.contains('{'), "{}", route.path);
    }
}

#[test]
fn operations_read_back_by_name_and_carry_the_scope_of_their_noun() {
    for operation in Operation::ALL {
        assert_eq!(Operation::parse(operation.name()), Some(operation));
        let (noun, _) = operation.name().split_once('.').unwrap_or_default();
        if let Access::Scope(scope) = Route::of(operation).access {
            let (of, right) = scope.as_str().split_once(':').unwrap_or_default();
            // Join tokens are about nodes, and have no scope of their own.
            let noun = match noun {
                "token" => "node",
                "enroll" => "enrollment",
                noun => noun,
            };
            assert_eq!(of.replace('_', ""), format!("{noun}s"), "{}", operation.name());
            let write = Route::of(operation).is_mutation();
            assert!(right == "admin" || (right == "write") == write, "{}", operation.name());
        }
    }
    assert_eq!(Operation::parse("node.reboot"), None);
}

#[test]
fn no_route_is_listed_twice() {
    for (i, route) in ROUTES.iter().enumerate() {
        assert!(!ROUTES[..i].iter().any(|r| (r.method, r.path) == (route.method, route.path)), "{}", route.path);
    }
}
